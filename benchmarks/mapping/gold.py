"""Gold terms: source terms with the concepts that people mapped them to, read from a folder of TSV files."""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass, replace
from pathlib import Path

FAMILIES = ("finomop", "amstel", "lth", "mimic", "jnj", "azdelta", "ariadne", "abucasis")
CORE = tuple(
    """
    ariadne_exact finomop_icd8 finomop_icd9 finomop_icd10 finomop_icpc finomop_lab finomop_procedure
    finomop_microbe amstel_admission amstel_drug amstel_item amstel_lab amstel_value abucasis
    lth_anatomy lth_drug lth_lab lth_microbiology lth_observation lth_radiology mimic3_diagnosis
    mimic4_chart mimic4_drug mimic4_lab mimic4_micro jnj_labname jnj_premier_drug azdelta_lab
    azdelta_other lth_unit finomop_unit jnj_unit
    """.split()
)


@dataclass(frozen=True, slots=True)
class GoldTerm:
    set_name: str
    family: str
    name: str
    original: str
    code: str
    domain: str | None
    targets: frozenset[int]
    findable: bool
    no_match: bool
    trivial: bool
    frequency: int
    scored: bool


def family(set_name: str) -> str:
    first = set_name.split("_")[0]
    return "mimic" if first.startswith("mimic") else first


def read(
    folder: Path, *, findable: int = 200, unfindable: int = 40, more: int = 1, seed: int = 7
) -> list[GoldTerm]:
    """At most so many findable and no-match terms a set, drawn with a fixed seed.

    `more` times as many are drawn of the core sets: what is beyond may be learned from and is not scored.
    """
    csv.field_size_limit(10**9)
    terms: list[GoldTerm] = []
    for path in sorted(folder.glob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines, delimiter="\t"))
        found, none = [], []
        for row in rows:
            standard = int(row["n_targets_standard_in_vocab"] or 0)
            no_match = int(row["n_targets_in_vocab"] or 0) == 0
            term = GoldTerm(
                path.stem,
                family(path.stem),
                row["source_term"],
                row["source_term_original"],
                row["source_code"],
                row["gold_domain"] or None,
                frozenset(int(part) for part in row["target_concept_ids"].split("|") if part),
                standard > 0,
                no_match,
                row["trivial"] == "1",
                int(row["frequency"] or 0),
                path.stem in CORE,
            )
            if not term.name.strip():
                continue
            (found if standard > 0 else none if no_match else []).append(term)
        draw = random.Random(f"{seed} {path.stem}")  # noqa: S311 - a sample, not a secret
        draw.shuffle(found)
        draw.shuffle(none)
        terms.extend(found[:findable] + none[:unfindable])
        if path.stem in CORE:
            further = found[findable : findable * more] + none[unfindable : unfindable * more]
            terms.extend(replace(term, scored=False) for term in further)
    return terms
