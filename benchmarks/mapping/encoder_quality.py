"""Whether a tuned encoder ships: the whole pipeline with it and with the packaged model, at families unseen.

usage: encoder_quality.py vectors DATA_FOLDER MODEL_FOLDER OUTPUT_FOLDER
       encoder_quality.py compare DATA_FOLDER PACKAGED.npz TUNED.npz

"vectors" embeds what tables.py needs; with vocab/ and gold/ beside them, tables.py then makes TUNED.npz. The
protocol is in docs/concepts/mapping-quality.md. Both tables contain the terms of read(DATA_FOLDER / "gold").
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from encoder_pairs import HELD_FAMILIES, TRAINED_FAMILIES, is_withheld
from gold import CORE_SETS, read
from large import read_vocabulary
from linear_training import fit_linear
from tables import load_table, make_query
from train_default import is_scored

from omop_emb.mapping.evaluation.leakage import LeakageGuard
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.queries import QueryBatch

DRAWS, MOST_TOKENS, BATCH = 2000, 128, 32


def texts_of(data: Path) -> list[str]:
    """All names and synonyms, and all variants of the terms."""
    lexicon = read_vocabulary(data / "vocab")
    texts = {text for row, text in enumerate(lexicon.texts) if lexicon.text_kind[row] < 2}

    def record(asked: list[str]) -> np.ndarray:
        texts.update(asked)
        return np.zeros((len(asked), 1), np.float32)

    lexical, guard, terms = LexicalIndex(lexicon), LeakageGuard(lexicon, None), read(data / "gold")
    for start in range(0, len(terms), 256):
        queries = [make_query(term, guard) for term in terms[start : start + 256]]
        assert QueryBatch.encode(queries, lexical, record).vectors is not None
    return sorted((text for text in texts if "\n" not in text), key=len)


def write_vectors(data: Path, model: Path, output: Path) -> None:
    import torch
    from train_encoder import Encoder

    encoder, texts = Encoder(model), texts_of(data)
    encoder.model.eval()
    with torch.inference_mode():
        parts = [
            encoder(texts[start : start + BATCH], MOST_TOKENS).numpy()
            for start in range(0, len(texts), BATCH)
        ]
    output.mkdir(exist_ok=True)
    (output / "tuned.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    np.save(output / "tuned.npy", np.concatenate(parts))


class Comparison:
    def __init__(self, data: Path, packaged: Path, tuned: Path) -> None:
        self.terms = read(data / "gold")
        self.families = np.array([term.family for term in self.terms])
        self.sets = np.array([term.set_name for term in self.terms])
        self.core = is_scored(self.terms)
        self.trained = np.array([term.set_name.split("_")[0] in TRAINED_FAMILIES for term in self.terms])
        self.unseen = ~self.trained | np.array([is_withheld(term.name) for term in self.terms])
        self.before, self.after = self.ranks(packaged), self.ranks(tuned)

    def ranks(self, table: Path) -> dict[str, np.ndarray]:
        """By way of ranking, the rank of each term's best target."""
        examples = load_table(table, self.terms)
        dense, joint, unit = (
            examples.features[:, NAMES.index(name)].astype(np.float32)
            for name in ("dense original", "joint score", "same unit")
        )
        others = np.zeros(len(examples.features), np.float32)
        for family in np.unique(self.families[self.core]):
            fitted = fit_linear(examples.take(np.flatnonzero((self.families != family) & self.unseen)))
            own = np.flatnonzero(self.families == family)
            others[examples.rows(own)] = fitted.score_examples(examples.take(own))
        scores = {
            "dense alone": dense,
            "without a ranker": joint + 0.3 * unit,
            "any candidate": examples.is_target.astype(np.float32),
            "ranker of all other families": others,
            "ranker of the open families": fit_linear(
                examples.take(np.flatnonzero(self.trained))
            ).score_examples(examples),
        }
        return {name: examples.target_ranks(of_way) for name, of_way in scores.items()}

    def print_change(self, name: str, way: str, chosen: np.ndarray, k: int = 1) -> None:
        """Recall@k of both, their difference, and its 95 % interval (terms drawn anew within their sets)."""
        draw = np.random.default_rng(7)
        sets = [np.flatnonzero(chosen & (self.sets == own)) for own in np.unique(self.sets[chosen])]
        hits = [(ranks[way] > 0) & (ranks[way] <= k) for ranks in (self.before, self.after)]
        before, after = (np.mean([hit[own].mean() for own in sets]) for hit in hits)
        changes = [hits[1][own].astype(int) - hits[0][own] for own in sets]
        drawn = [
            np.mean([change[draw.integers(0, len(change), len(change))].mean() for change in changes])
            for _ in range(DRAWS)
        ]
        low, high = np.percentile(drawn, (2.5, 97.5))
        change = f"{after - before:+.4f} [{low:+.4f}, {high:+.4f}]"
        print(f"  {name}, recall@{k} of {chosen.sum()}: {before:.3f} -> {after:.3f} {change}", flush=True)

    def print_all(self) -> None:
        held = self.core & np.isin(self.families, HELD_FAMILIES)
        for way in self.before:
            print(way)
            for k in (1, 10):
                self.print_change("held families", way, held, k)
            for family in np.unique(self.families[held]):
                self.print_change(str(family), way, held & (self.families == family))
            self.print_change("trained families, withheld", way, self.core & self.trained & self.unseen)
        way = "ranker of all other families"
        for domain in ("Condition", "Drug", "Measurement", "Procedure", "Observation", "Unit"):
            self.print_change(domain, way, held & np.array([term.domain == domain for term in self.terms]))
        for own in CORE_SETS:
            if (held & (self.sets == own)).any():
                self.print_change(own, way, held & (self.sets == own))


if __name__ == "__main__":
    step, paths = sys.argv[1], [Path(argument) for argument in sys.argv[2:5]]
    if step == "vectors":
        write_vectors(*paths)
    else:
        Comparison(*paths).print_all()
