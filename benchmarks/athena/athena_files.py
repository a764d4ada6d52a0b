"""Made-up Athena downloads: CONCEPT, its synonyms, relationships and ancestors, of any size.

Of 200 concepts, 70 are standard: 35 drugs, 21 findings and 14 laboratory tests. 80 are packages that lead to
drugs, 40 are other systems' codes that lead to findings and tests, and 10 are no longer valid. A concept is a
function of its number, so files are written in blocks, in the same memory whatever their size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import athena_names as names
from .athena_names import Numbers, mix

BLOCK = 100_000
_CYCLE = 200
_ENGLISH, _SPANISH, _GERMAN, _FRENCH = 4180186, 4182511, 4182504, 4180190
_LANGUAGES = {"es": _SPANISH, "de": _GERMAN, "fr": _FRENCH}
_FIRST_ID, _ID_STEP = 1_000, 3
_DATES = "19700101\t20991231\t"
_OLD_DATES = "19700101\t20200101\t"
_CHILDREN = 8  # of a concept in the tree of its kind


@dataclass(frozen=True)
class Kind:
    """A part of the vocabulary: which of 200 concepts it has, and what it leads to."""

    name: str
    first: int
    count: int
    vocabularies: tuple[str, ...]
    domain: str
    concept_class: str
    target: str = ""  # the kind that it leads to; "" for a standard one


KINDS = {
    kind.name: kind
    for kind in (
        Kind("drug", 0, 35, ("RxNorm Extension",) * 6 + ("RxNorm",), "Drug", "Marketed Product"),
        Kind("finding", 35, 21, ("SNOMED",), "Condition", "Clinical Finding"),
        Kind("test", 56, 14, ("LOINC",), "Measurement", "Lab Test"),
        Kind("package", 70, 80, ("NDC", "dm+d", "SPL"), "Drug", "11-digit NDC", "drug"),
        Kind("diagnosis", 150, 26, ("ICD10CM", "Read"), "Condition", "ICD10 code", "finding"),
        Kind("order", 176, 14, ("Nebraska",), "Measurement", "Observable Entity", "test"),
        Kind("invalid", 190, 10, ("SNOMED", "RxNorm Extension"), "Condition", "Clinical Finding", "finding"),
    )
}
_NEITHER = Kind("none", 0, 0, ("None",), "Metadata", "Vocabulary")


@dataclass(frozen=True)
class Download:
    """What is written: how many concepts (a multiple of 200), from which seed, and which release.

    Release 1 has 2 % changed: 1 % of the standard concepts renamed, 0.5 % withdrawn, 0.5 % new.
    """

    concepts: int
    seed: int = 1
    release: int = 0

    def __post_init__(self) -> None:
        if self.concepts < _CYCLE or self.concepts % _CYCLE or self.release not in (0, 1):
            raise ValueError(f"concepts must be a multiple of {_CYCLE}, the release 0 or 1; found {self}")

    @property
    def in_all(self) -> int:
        """Concepts with those that the release adds."""
        return self.concepts + self.release * (self.concepts // _CYCLE)

    def change(self, numbers: Numbers) -> Numbers:
        """0 to 199 for each concept: which share of the changes it is in."""
        return (mix(numbers, 900 + self.seed) % np.uint64(200)).astype(np.int64)

    def is_renamed(self, numbers: Numbers) -> names.Words:
        """Whether the release renames a concept."""
        return (self.change(numbers) < 2 * self.release) & (numbers < self.concepts)

    def is_withdrawn(self, numbers: Numbers) -> names.Words:
        """Whether the release withdraws a concept."""
        return (self.change(numbers) == 2) & (self.release == 1) & (numbers < self.concepts)


def write(folder: Path, download: Download) -> dict[str, int]:
    """Write the files of a download; the number of rows of each."""
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[str, tuple[str, Callable[[Numbers, Download], Iterable[str]]]] = {
        "CONCEPT": (
            "concept_id concept_name domain_id vocabulary_id concept_class_id standard_concept concept_code "
            "valid_start_date valid_end_date invalid_reason",
            _concepts,
        ),
        "CONCEPT_SYNONYM": ("concept_id concept_synonym_name language_concept_id", _synonyms),
        "CONCEPT_RELATIONSHIP": (
            "concept_id_1 concept_id_2 relationship_id valid_start_date valid_end_date invalid_reason",
            _relationships,
        ),
        "CONCEPT_ANCESTOR": (
            "ancestor_concept_id descendant_concept_id min_levels_of_separation max_levels_of_separation",
            _ancestors,
        ),
    }
    rows = {}
    for table, (header, lines_of) in tables.items():
        with (folder / f"{table}.csv").open("w", encoding="utf-8", newline="") as file:
            file.write(header.replace(" ", "\t") + "\n")
            rows[table] = 0
            for numbers in _blocks(download.in_all):
                lines = list(lines_of(numbers, download))
                rows[table] += len(lines)
                file.write("".join(lines))
    for table, lines in _small_tables(download).items():
        (folder / f"{table}.csv").write_text("".join(lines), encoding="utf-8", newline="")
    return rows


def _blocks(count: int) -> Iterator[Numbers]:
    for start in range(0, count, BLOCK):
        yield np.arange(start, min(start + BLOCK, count))


def concept_ids(numbers: Numbers) -> Numbers:
    """The ids of concepts."""
    return _FIRST_ID + _ID_STEP * numbers


def of_kind(numbers: Numbers, kind: Kind) -> tuple[Numbers, Numbers]:
    """(concept, number within the kind) of a kind's concepts among some."""
    slot = numbers % _CYCLE
    chosen = numbers[(slot >= kind.first) & (slot < kind.first + kind.count)]
    return chosen, chosen // _CYCLE * kind.count + chosen % _CYCLE - kind.first


def _concept_numbers(within: Numbers, kind: Kind) -> Numbers:
    return within // kind.count * _CYCLE + kind.first + within % kind.count


def _targets(within: Numbers, kind: Kind) -> tuple[Numbers, Numbers]:
    """(concept, number within its kind) that a kind's concepts lead to, neighbours to neighbours."""
    target = KINDS[kind.target]
    other = within * target.count // max(kind.count, target.count)
    return _concept_numbers(other, target), other


def _name_numbers(chosen: Numbers, within: Numbers, download: Download) -> Numbers:
    """What the names are made from: a renamed concept has that of a far number."""
    shifted = within + download.seed * 1_000_000_000
    return np.where(download.is_renamed(chosen), shifted + 500_000_000, shifted)


def concept_names(kind: Kind, chosen: Numbers, within: Numbers, download: Download) -> list[str]:
    numbers = _name_numbers(chosen, within, download)
    if kind.name == "drug":
        return names.drug_names(numbers)
    if kind.name == "test":
        return names.laboratory_names(numbers)
    if kind.name == "package":
        _, drugs = _targets(within, kind)
        return names.package_names(numbers, drugs + download.seed * 1_000_000_000)
    if kind.name == "order":
        return [f"{name} panel" for name in names.laboratory_names(numbers, variant=1)]
    if kind.name == "finding":
        return names.finding_names(numbers)
    _, findings = _targets(within, kind)
    other = names.finding_names(findings + download.seed * 1_000_000_000, variant=1)
    return [f"{name}, unspecified" for name in other]


def _concepts(numbers: Numbers, download: Download) -> Iterator[str]:
    for kind in KINDS.values():
        chosen, within = of_kind(numbers, kind)
        gone = download.is_withdrawn(chosen) | (kind.name == "invalid")
        columns = (
            concept_ids(chosen).tolist(),
            concept_names(kind, chosen, within, download),
            (mix(chosen, 50) % np.uint64(len(kind.vocabularies))).tolist(),
            gone.tolist(),
        )
        for concept_id, name, vocabulary, is_gone in zip(*columns, strict=True):
            flag = "" if kind.target or is_gone else "S"
            dates = _OLD_DATES + "U" if is_gone else _DATES
            yield (
                f"{concept_id}\t{name}\t{kind.domain}\t{kind.vocabularies[vocabulary]}\t{kind.concept_class}\t"
                f"{flag}\tC{concept_id}\t{dates}\n"
            )


def _synonyms(numbers: Numbers, download: Download) -> Iterator[str]:
    """Seven in ten standard concepts have one in English, one in seven of the findings others."""
    for name in ("drug", "finding", "test"):
        chosen, within = of_kind(numbers, KINDS[name])
        has_one = mix(chosen, 60) % np.uint64(10) < 7
        ids = concept_ids(chosen[has_one]).tolist()
        of = _name_numbers(chosen[has_one], within[has_one], download)
        if name == "drug":
            texts = [f"{text.lower()} preparation" for text in names.drug_names(of)]
        elif name == "test":
            texts = names.laboratory_names(of, variant=1)
        else:
            texts = names.finding_names(of, variant=1)
        for concept_id, text in zip(ids, texts, strict=True):
            yield f"{concept_id}\t{text}\t{_ENGLISH}\n"
        if name != "finding":
            continue
        for language, language_id in _LANGUAGES.items():
            has_other = mix(chosen, language_id) % np.uint64(7) == 0
            of = _name_numbers(chosen[has_other], within[has_other], download)
            ids = concept_ids(chosen[has_other]).tolist()
            for concept_id, text in zip(ids, names.finding_names(of, language), strict=True):
                yield f"{concept_id}\t{text}\t{language_id}\n"


def _pairs(ids: Numbers, others: Numbers, there: str, back: str, dates: str = _DATES) -> Iterator[str]:
    for one, other in zip(ids.tolist(), others.tolist(), strict=True):
        yield f"{one}\t{other}\t{there}\t{dates}\n"
        yield f"{other}\t{one}\t{back}\t{dates}\n"


def _relationships(numbers: Numbers, download: Download) -> Iterator[str]:
    """Four for each concept: to what it is coded as, to its parent or a relative, and back."""
    for kind in KINDS.values():
        chosen, within = of_kind(numbers, kind)
        ids = concept_ids(chosen)
        if kind.target:
            others, _ = _targets(within, kind)
            leads = mix(chosen, 70) % np.uint64(10) < 6
            yield from _pairs(ids[leads], concept_ids(others[leads]), "Maps to", "Mapped from")
            yield from _pairs(
                ids[~leads], concept_ids(others[~leads]), "Concept poss_eq to", "Concept poss_eq from"
            )
            related = _concept_numbers(np.maximum(within - 1, 0), kind)
            yield from _pairs(ids, concept_ids(related), "Has packaging", "Packaging of", _OLD_DATES + "D")
        else:
            yield from _pairs(ids, ids, "Maps to", "Mapped from")
            parents = concept_ids(_concept_numbers(within // _CHILDREN, kind))
            yield from _pairs(ids, parents, "Is a", "Subsumes")


def _ancestors(numbers: Numbers, download: Download) -> Iterator[str]:
    """Itself, and each concept above it in the tree of its kind."""
    for kind in (KINDS["drug"], KINDS["finding"], KINDS["test"]):
        chosen, within = of_kind(numbers, kind)
        level, is_below = 0, np.ones(len(chosen), bool)
        while is_below.any():
            above = concept_ids(_concept_numbers(within[is_below], kind)).tolist()
            for ancestor, descendant in zip(above, concept_ids(chosen[is_below]).tolist(), strict=True):
                yield f"{ancestor}\t{descendant}\t{level}\t{level}\n"
            is_below = is_below & (within > 0)
            within, level = within // _CHILDREN, level + 1


def _small_tables(download: Download) -> dict[str, list[str]]:
    kinds = [*KINDS.values(), _NEITHER]
    version = ("v5.0 29-AUG-25", "v5.0 27-FEB-26")[download.release]
    vocabularies = sorted({name for kind in kinds for name in kind.vocabularies})
    relationships = (
        ("Maps to", "Mapped from"), ("Concept poss_eq to", "Concept poss_eq from"),
        ("Has packaging", "Packaging of"), ("Is a", "Subsumes"),
    )  # fmt: skip
    return {
        "VOCABULARY": [
            "vocabulary_id\tvocabulary_name\tvocabulary_reference\tvocabulary_version\tvocabulary_concept_id\n",
            *(f"{name}\t{name}\t\t{version if name == 'None' else ''}\t0\n" for name in vocabularies),
        ],
        "DOMAIN": [
            "domain_id\tdomain_name\tdomain_concept_id\n",
            *(f"{name}\t{name}\t0\n" for name in sorted({kind.domain for kind in kinds})),
        ],
        "CONCEPT_CLASS": [
            "concept_class_id\tconcept_class_name\tconcept_class_concept_id\n",
            *(f"{name}\t{name}\t0\n" for name in sorted({kind.concept_class for kind in kinds})),
        ],
        "RELATIONSHIP": [
            "relationship_id\trelationship_name\tis_hierarchical\tdefines_ancestry\treverse_relationship_id\t"
            "relationship_concept_id\n",
            *(
                f"{one}\t{one}\t{int(one == 'Is a')}\t{int(one == 'Is a')}\t{other}\t0\n"
                for pair in relationships
                for one, other in (pair, pair[::-1])
            ),
        ],
    }
