"""Gold terms: source terms with the concepts that people chose, read from a folder of TSV files."""

from __future__ import annotations

import csv
import random
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

FAMILIES = ("finomop", "amstel", "lth", "mimic", "jnj", "azdelta", "ariadne", "abucasis")
CORE_SETS = tuple(
    """
    ariadne_exact finomop_icd8 finomop_icd9 finomop_icd10 finomop_icpc finomop_lab finomop_procedure
    finomop_microbe amstel_admission amstel_drug amstel_item amstel_lab amstel_value abucasis
    lth_anatomy lth_drug lth_lab lth_microbiology lth_observation lth_radiology mimic3_diagnosis
    mimic4_chart mimic4_drug mimic4_lab mimic4_micro jnj_labname jnj_premier_drug azdelta_lab
    azdelta_other lth_unit finomop_unit jnj_unit
    """.split()
)
# Sets whose repository is under MIT or Apache-2.0: what ships learns from no other.
LICENSED_SETS = frozenset(
    """
    amstel_admission amstel_drug amstel_item amstel_lab amstel_other amstel_unit amstel_value
    mimic3_chart mimic3_diagnosis mimic3_drg mimic3_drug mimic3_input mimic3_other mimic3_unit
    ariadne_broad ariadne_exact cem_eu_substance jnj_cprd_entity jnj_jmdc_drug jnj_labname jnj_premier_drug
    jnj_symphony_drug jnj_unit mimic4_chart mimic4_drg mimic4_drug mimic4_lab mimic4_micro mimic4_other
    mimic4_procedure mimic4_unit sweden
    """.split()
)


@dataclass(frozen=True, slots=True)
class GoldTerm:
    set_name: str
    family: str
    name: str
    code: str
    domain: str | None
    targets: frozenset[int]
    findable: bool
    scored: bool


def is_aside(term: GoldTerm) -> bool:
    """Whether a term belongs to the third of its family that is scored last and chooses nothing."""
    return zlib.crc32(f"{term.family} {term.name.lower()}".encode()) % 3 == 0


def read(
    folder: Path, *, findable: int = 200, unfindable: int = 40, more: int = 1, seed: int = 7
) -> list[GoldTerm]:
    """At most so many findable and no-match terms per set, drawn with a fixed seed.

    From the core sets `more` times as many are drawn: the additional ones may be learned from, but are not
    scored.
    """
    csv.field_size_limit(10**9)
    terms: list[GoldTerm] = []
    for path in sorted(folder.glob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines, delimiter="\t"))
        matched, unmatched = [], []
        for row in rows:
            has_match = int(row["n_targets_standard_in_vocab"] or 0) > 0
            first_part = path.stem.split("_")[0]
            term = GoldTerm(
                set_name=path.stem,
                family="mimic" if first_part.startswith("mimic") else first_part,
                name=row["source_term"],
                code=row["source_code"],
                domain=row["gold_domain"] or None,
                targets=frozenset(int(part) for part in row["target_concept_ids"].split("|") if part),
                findable=has_match,
                scored=path.stem in CORE_SETS,
            )
            if not term.name.strip():
                continue
            if has_match:
                matched.append(term)
            elif int(row["n_targets_in_vocab"] or 0) == 0:
                unmatched.append(term)
        draw = random.Random(f"{seed} {path.stem}")  # noqa: S311 - a sample, not a secret
        draw.shuffle(matched)
        draw.shuffle(unmatched)
        terms.extend(matched[:findable] + unmatched[:unfindable])
        if path.stem in CORE_SETS:
            further = matched[findable : findable * more] + unmatched[unfindable : unfindable * more]
            terms.extend(replace(term, scored=False) for term in further)
    return terms


def read_for_shipping(folder: Path) -> list[GoldTerm]:
    """What the shipped ranker is scored on and learns from: read(), of licensed sets five times as many."""
    terms = read(folder, more=5)
    return [
        one for one in terms if one.scored or one.set_name not in CORE_SETS or one.set_name in LICENSED_SETS
    ]
