"""Gold terms -> a table of features of all their candidates, kept so that rankers can be tried quickly.

usage: tables.py DATA_FOLDER OUTPUT.npz [--more N] [--memory-without-fold F]

DATA_FOLDER holds vocab/ (Athena's layout), gold/*.tsv and, where there are, pairs of texts and their vectors
(names.txt, names.npy …); texts without a vector are embedded by the packaged model, once.
With --memory-without-fold F each family of sources remembers what it approved, but for the terms of fold F
of three; a term never sees its own approval.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from gold import GoldTerm, read
from large import Vectors, read_vocabulary

from omop_emb.mapping.evaluation.leakage import OwnSource
from omop_emb.mapping.features.features import Features
from omop_emb.mapping.features.names import NAMES
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.records import SourceTerm
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.candidates import MEMORY, Query, find
from omop_emb.mapping.retrieval.concept_attributes import Facts, gather
from omop_emb.mapping.retrieval.dense_index import DenseIndex
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.terms.normalise import forms
from omop_emb.mapping.training.linear_training import folds

FOLDS = 3


@dataclass(frozen=True, eq=False)
class World:
    lexical: LexicalIndex
    facts: Facts
    dense: DenseIndex
    vectors: Vectors


def world(data: Path) -> World:
    lexicon = read_vocabulary(data / "vocab")
    lexical = LexicalIndex(lexicon)
    vectors = Vectors(data)
    return World(lexical, gather(lexicon, lexical), vectors.index(lexicon), vectors)


def source_term(term: GoldTerm) -> SourceTerm:
    return SourceTerm(name=term.name, code=term.code, domain=term.domain)


def term_folds(terms: list[GoldTerm]) -> np.ndarray:
    return folds(np.array([term.set_name for term in terms]), count=FOLDS, by_source=False)


def memory_of(there: World, terms: list[GoldTerm]) -> MemoryIndex:
    pairs = [
        (term, int(row))
        for term in terms
        for row in there.lexical.lexicon.rows(sorted(term.targets))
        if row >= 0
    ]
    names = [term.name for term, _ in pairs]
    rows = np.array([row for _, row in pairs], np.int64)
    return MemoryIndex(there.lexical, names, rows, there.vectors(names), [term.code for term, _ in pairs])


def make(there: World, terms: list[GoldTerm], out: Path, without_fold: int | None = None) -> None:
    started = time.time()
    fold = term_folds(terms)
    families = np.array([term.family if without_fold is not None else "" for term in terms])
    parts: dict[int, tuple[np.ndarray, ...]] = {}
    for family in np.unique(families):
        places = np.flatnonzero(families == family)
        memory = None
        if without_fold is not None:
            known = [terms[place] for place in places if fold[place] != without_fold]
            memory = memory_of(there, known) if any(term.findable for term in known) else None
        own = OwnSource(there.lexical.lexicon, memory)
        features = Features(there.lexical, there.facts, there.dense, memory)
        for at in range(0, len(places), 256):
            block = places[at : at + 256]
            asked = [source_term(terms[place]) for place in block]
            queries = [
                own.hide(Query.of(forms(term.name, domain=term.domain), term.domain), term) for term in asked
            ]
            # what is scored remembers whatever the other folds approved, the same name in another file too
            queries = [
                replace(query, hidden_memory=frozenset()) if fold[place] == without_fold else query
                for place, query in zip(block, queries, strict=True)
            ]
            found = find(queries, there.lexical, there.facts, there.dense, there.vectors, memory)
            scored = features.score(queries, found)
            for number, place in enumerate(block):
                rows = slice(int(found.first[number]), int(found.first[number + 1]))
                parts[int(place)] = (found.concept[rows], found.by[rows], scored.features[rows])
    ordered = [parts[place] for place in range(len(terms))]
    concept, by, table = (np.concatenate([part[column] for part in ordered]) for column in range(3))
    sizes = np.array([len(part[0]) for part in ordered], np.int64)
    lexicon = there.lexical.lexicon
    owner = np.repeat(np.arange(len(terms)), sizes)
    targets = [set(lexicon.rows(sorted(term.targets)).tolist()) for term in terms]
    label = np.array([int(row) in targets[place] for row, place in zip(concept, owner, strict=True)])
    np.savez(
        out,
        sizes=sizes,
        concept=concept,
        by=by,
        table=table.astype(np.float16),
        label=label,
        domain=lexicon.domain[concept],
        domains=np.array(lexicon.domains),
    )
    print(out.name, table.shape, f"{1000 * (time.time() - started) / len(terms):.1f} ms a term", flush=True)


def load(table: Path, terms: list[GoldTerm]) -> Examples:
    data = np.load(table)
    features, place = data["table"], {name: number for number, name in enumerate(NAMES)}
    groups = ("original", "rewritten", "part")

    def best(name: str) -> np.ndarray:
        return features[:, [place[f"{name} {group}"] for group in groups]].max(axis=1).astype(np.float32)

    assert len(data["sizes"]) == len(terms), "the table is of other terms: delete it"
    return Examples(
        features,
        np.array(data["domains"])[data["domain"]],
        np.concatenate([[0], np.cumsum(data["sizes"])]).astype(np.int64),
        data["label"],
        np.array([term.set_name for term in terms]),
        best("dense"),
        best("lexical"),
        best("reads alike,"),
        data["by"] == MEMORY,
        np.array([term.findable for term in terms]),
        np.zeros(len(features), np.float32),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--more", type=int, default=5)
    parser.add_argument("--memory-without-fold", type=int)
    asked = parser.parse_args()
    chosen = read(asked.data / "gold", more=asked.more)
    make(world(asked.data), chosen, asked.out, asked.memory_without_fold)
