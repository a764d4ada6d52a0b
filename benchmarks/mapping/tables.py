"""Tables of features: all candidates of the gold terms, stored so that rankers can be tried quickly.

usage: tables.py DATA_FOLDER OUTPUT.npz [--memory-without-fold F | --leave-one-out]

DATA_FOLDER holds vocab/ (Athena's layout), gold/*.tsv and, if there are any, texts with their vectors
(names.txt, names.npy …); texts without a vector are embedded by the packaged model, once.
With --memory-without-fold F, each family of sources remembers what it approved, except the terms of fold F of
three; a term never sees its own approval. With --leave-one-out it remembers all, and a term is mapped as if
only it had not been approved: it sees the same text in another row. make_table() can also limit what is
remembered and which terms are written; learning_curve.py does.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from gold import GoldTerm, read_for_shipping
from large import Vectors, read_vocabulary

from omop_emb.mapping.evaluation.leakage import LeakageGuard
from omop_emb.mapping.features.candidate_features import Features
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.ranking.calibration import equal_text
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.records import SourceTerm
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.candidates import find_candidates, make_retrievers
from omop_emb.mapping.retrieval.concept_attributes import ConceptAttributes, concept_attributes
from omop_emb.mapping.retrieval.dense_index import DenseIndex
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.queries import Query, QueryBatch
from omop_emb.mapping.terms.harvested_abbreviations import Abbreviations
from omop_emb.mapping.terms.variants import query_variants
from omop_emb.mapping.training.cross_validation import term_folds

FOLDS = 3
BATCH_TERMS = 256


@dataclass(frozen=True, eq=False)
class World:
    lexical: LexicalIndex
    attributes: ConceptAttributes
    dense: DenseIndex
    vectors: Vectors


def read_world(data: Path) -> World:
    lexicon = read_vocabulary(data / "vocab")
    lexical = LexicalIndex(lexicon)
    vectors = Vectors(data)
    return World(lexical, concept_attributes(lexical), vectors.index(lexicon), vectors)


def folds_of(terms: list[GoldTerm]) -> np.ndarray:
    return term_folds(len(terms), FOLDS)


def family_memory(world: World, terms: list[GoldTerm], known: np.ndarray) -> tuple[MemoryIndex, np.ndarray]:
    """The approved names of the known terms, and the number of the term that each belongs to."""
    lexicon = world.lexical.lexicon
    pairs = [
        (number, int(row))
        for number in known.tolist()
        for row in lexicon.rows(sorted(terms[number].targets))
        if row >= 0
    ]
    owner = np.array([number for number, _ in pairs], np.int64)
    rows = np.array([row for _, row in pairs], np.int64)
    names, codes = [terms[number].name for number in owner], [terms[number].code for number in owner]
    return MemoryIndex(world.lexical, names, rows, world.vectors(names), codes), owner


def make_table(
    world: World,
    terms: list[GoldTerm],
    out: Path,
    without_fold: int | None = None,
    *,
    leave_one_out: bool = False,
    approved: np.ndarray | None = None,
    written: np.ndarray | None = None,
) -> None:
    """Write the table of terms; approved, written: numbers of those to remember and to write, ascending."""
    started = time.time()
    lexicon, fold = world.lexical.lexicon, folds_of(terms)
    everything = np.arange(len(terms))
    written, approved = (everything if one is None else one for one in (written, approved))
    remembers = leave_one_out or without_fold is not None
    families = np.array([term.family if remembers else "" for term in terms])
    parts: dict[int, tuple[np.ndarray, ...]] = {}
    for family in np.unique(families[written]):
        numbers = written[families[written] == family]
        memory, owner = None, np.zeros(0, np.int64)
        of_family = approved[families[approved] == family]
        known = of_family[fold[of_family] != without_fold] if remembers else of_family[:0]
        if any(terms[number].findable for number in known):
            memory, owner = family_memory(world, terms, known)
        guard = LeakageGuard(lexicon, memory)
        retrievers = make_retrievers(world.lexical, world.attributes, world.dense, memory)
        features = Features(world.lexical, world.attributes, world.dense, memory)
        for start in range(0, len(numbers), BATCH_TERMS):
            batch = numbers[start : start + BATCH_TERMS]
            queries = [make_query(terms[number], guard, world.lexical.abbreviations) for number in batch]
            # Scored terms remember all that the other folds approved, even the same name in another file.
            queries = [
                replace(query, hidden_names=frozenset(np.flatnonzero(owner == number).tolist()))
                if leave_one_out or fold[number] == without_fold
                else query
                for number, query in zip(batch, queries, strict=True)
            ]
            query_batch = QueryBatch.encode(queries, world.lexical, world.vectors)
            candidates = find_candidates(query_batch, retrievers)
            scored, memory_only = features.compute(candidates), candidates.found_only_by("memory")
            for position, number in enumerate(batch):
                rows = candidates.span(position)
                parts[int(number)] = (candidates.concept[rows], memory_only[rows], scored.features[rows])
    ordered = [parts[number] for number in written.tolist()]
    concept, memory_only, table = (np.concatenate([part[column] for part in ordered]) for column in range(3))
    sizes = np.array([len(part[0]) for part in ordered], np.int64)
    owner = np.repeat(written, sizes)
    targets = [set(lexicon.rows(sorted(term.targets)).tolist()) for term in terms]
    label = np.array([int(row) in targets[number] for row, number in zip(concept, owner, strict=True)])
    np.savez(
        out,
        sizes=sizes,
        concept=concept,
        memory_only=memory_only,
        table=table.astype(np.float16),
        label=label,
        domain=lexicon.domain[concept],
        domains=np.array(lexicon.domains),
    )
    print(
        out.name, table.shape, f"{1000 * (time.time() - started) / len(written):.1f} ms per term", flush=True
    )


def make_query(term: GoldTerm, guard: LeakageGuard, harvested: Abbreviations | None = None) -> Query:
    """The query of a term, without what belongs to the term itself."""
    query = Query.of(query_variants(term.name, domain=term.domain, harvested=harvested), term.domain)
    return guard.hide(query, SourceTerm(name=term.name, code=term.code, domain=term.domain))


def load_table(table: Path, terms: list[GoldTerm]) -> Examples:
    data = np.load(table)
    features, columns = data["table"], {name: number for number, name in enumerate(NAMES)}
    groups = ("original", "rewritten", "part")

    def best(name: str) -> np.ndarray:
        members = [columns[f"{name} {group}"] for group in groups]
        return features[:, members].max(axis=1).astype(np.float32)

    assert len(data["sizes"]) == len(terms), "the table is of other terms: delete it"
    return Examples(
        features=features,
        domains=np.array(data["domains"])[data["domain"]],
        offsets=np.concatenate([[0], np.cumsum(data["sizes"])]).astype(np.int64),
        is_target=data["label"],
        sources=np.array([term.set_name for term in terms]),
        dense=best("dense"),
        lexical=best("lexical"),
        equal_text=equal_text(features),
        memory_only=data["memory_only"],
        findable=np.array([term.findable for term in terms]),
        shipped_scores=np.zeros(len(features), np.float32),
        concept_ids=data["concept"].astype(np.int64),  # rows stand for ids here
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--memory-without-fold", type=int)
    parser.add_argument("--leave-one-out", action="store_true")
    options = parser.parse_args()
    make_table(
        read_world(options.data),
        read_for_shipping(options.data / "gold"),
        options.out,
        options.memory_without_fold,
        leave_one_out=options.leave_one_out,
    )
