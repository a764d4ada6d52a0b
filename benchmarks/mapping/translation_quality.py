"""What translations gain: original terms, with people's English as one more query, and the English alone.

usage: translation_quality.py GOLD_FOLDER [--per-set 150]

GOLD_FOLDER holds sets of gold terms (*.tsv) that have the original beside its English. People's English
stands for the answer of a generative model, so that this is what a model gains at most; what the checks of
`Translator` drop is dropped here too. Terms are mapped with the active space and the shipped ranker; the
vocabulary may be a part of OMOP's, as long as it has the targets. Intervals are of a bootstrap over terms.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from omop_emb.database import waiting_session
from omop_emb.mapping import open_mapper
from omop_emb.mapping.evaluation.gold import GoldTerm
from omop_emb.mapping.evaluation.outcomes import evaluate_terms
from omop_emb.mapping.judge import Translator
from omop_emb.mapping.records import SourceTerm
from omop_emb.providers import ChatResponse

LANGUAGES = {"finomop": "Finnish", "amstel": "Dutch", "abucasis": "Spanish", "korea": "Korean"}
"""The language that a family of sets was written in."""
_SEED = 7


class People:
    """A model that answers with what people translated a term into."""

    source, concurrency, timeout_seconds = "people:english", 1, 10.0

    def __init__(self, english: Mapping[str, str]) -> None:
        self._english = english

    def ask(
        self, system: str, question: str, schema: Mapping[str, Any], *, timeout_seconds: float
    ) -> ChatResponse:
        """The answer about every term of a question."""
        texts = [json.loads(line.partition(": ")[2])["text"] for line in question.splitlines()]
        answers = [{"term": n, "translation": self._english[text]} for n, text in enumerate(texts, start=1)]
        return ChatResponse(json.dumps({"answers": answers}))


def read_rows(folder: Path, per_set: int) -> list[tuple[str, dict[str, str]]]:
    """(language, row) of findable terms whose original is not the English; at most so many of each set."""
    csv.field_size_limit(10**9)
    chosen: list[tuple[str, dict[str, str]]] = []
    for path in sorted(folder.glob("*.tsv")):
        language = LANGUAGES.get(path.stem.split("_")[0])
        if language is None:
            continue
        with path.open(encoding="utf-8", newline="") as lines:
            rows = [
                {name: " ".join(value.split()) for name, value in row.items()}
                for row in csv.DictReader(lines, delimiter="\t")
                if int(row["n_targets_standard_in_vocab"] or 0) > 0
            ]
        rows = [row for row in rows if "" != row["source_term_original"] != row["source_term"] != ""]
        random.Random(f"{_SEED} {path.stem}").shuffle(rows)  # noqa: S311 - a sample, not a secret
        chosen += [(language, row) for row in rows[:per_set]]
    return chosen


def main() -> None:
    """Print recall@1 and recall@10 of each language, with intervals."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gold", type=Path)
    parser.add_argument("--per-set", type=int, default=150)
    arguments = parser.parse_args()
    rows = read_rows(arguments.gold, arguments.per_set)
    translator = Translator(People({row["source_term_original"]: row["source_term"] for _, row in rows}))

    def terms(column: str) -> list[SourceTerm]:
        return [SourceTerm(name=row[column], domain=row["gold_domain"] or None) for _, row in rows]

    original = terms("source_term_original")
    arms = {
        "original": original,
        "with translation": translator.translate(original),
        "English": terms("source_term"),
    }
    print(dict(translator.counts))
    targets = [frozenset(map(int, filter(None, row["target_concept_ids"].split("|")))) for _, row in rows]
    ranks: dict[str, np.ndarray[Any, np.dtype[np.int64]]] = {}
    with (
        waiting_session() as session,
        open_mapper(session, use_memory=False, use_own_ranker=False) as mapper,
    ):
        for arm, of_arm in arms.items():
            gold = [
                GoldTerm(term=term, targets=of_term, source="gold")
                for term, of_term in zip(of_arm, targets, strict=True)
            ]
            outcomes = evaluate_terms(mapper.engine, gold)
            if len(outcomes) != len(rows):
                raise SystemExit("the vocabulary lacks targets of these terms")
            ranks[arm] = np.array([outcome.ranks["ranker"] for outcome in outcomes])
    draw = np.random.default_rng(_SEED)
    for language in sorted(set(LANGUAGES.values())):
        numbers = np.array([number for number, (name, _) in enumerate(rows) if name == language])
        for arm, of_arm in ranks.items():
            for k in (1, 10):
                hits = (of_arm[numbers] > 0) & (of_arm[numbers] <= k)
                means = [hits[draw.integers(0, len(hits), len(hits))].mean() for _ in range(500)]
                low, high = np.quantile(means, [0.025, 0.975])
                print(f"{language} ({len(hits)}) {arm}: recall@{k} {hits.mean():.3f} [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
