"""Pairs for an encoder: source terms and other names, each with the name of its concept, from open sources.

DATA_FOLDER holds vocab/ (Athena's layout), gold/*.tsv and open/: hpo.tsv (id, name, synonym, scope),
icd10cm_inclusion.tsv (code, name, term, kind) and unii.tsv (unii, preferred, name, type).
"""

from __future__ import annotations

import csv
import random
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from omop_emb.mapping.terms.text_key import text_key

TRAINED_FAMILIES = ("amstel", "ariadne", "cem", "jnj", "mimic3", "mimic4", "sweden")
"""Their repositories are under MIT or Apache-2.0."""
HELD_FAMILIES = ("abucasis", "azdelta", "finomop", "korea", "lth")
"""Their licence is the GPL, or none was found: the model never sees them, so they show a new hospital."""
OPEN_VOCABULARIES = {
    "CVX", "Cancer Modifier", "CMS Place of Service", "HCPCS", "ICD10CM", "ICD10PCS", "ICD9Proc", "LOINC",
    "OMOP Extension", "OMOP Genomic", "Race", "RxNorm", "RxNorm Extension", "UCUM", "Visit",
}  # fmt: skip
"""Public domain, or free with a notice. SNOMED, CPT, ATC, ICD-O, Read, OPCS-4 and NUCC are not."""
MOST_OF_A_SET = 1000
SAMPLES = {"hpo": 3200, "icd10cm": 2600, "unii": 1600, "vocabulary": 1100, "loinc": 1100, "rxnorm": 1100}
SPECIMENS = {
    "Serum or Plasma": ("serum", "S/P", "plasma", "P", ""),
    "Blood": ("blood", "B", "WB", ""),
    "Urine": ("urine", "U"),
    "Cerebral spinal fluid": ("CSF",),
    "Serum": ("serum", "S"),
    "Stool": ("stool", "feces"),
}
LOINC_TERMS = ("{a} {s}", "{s} {a}", "{a}, {s}", "{s}-{a}", "{a} ({s})", "{a}|{s}")
DOSE_FORMS = {
    "Injectable Solution": ("inj", "injection", "inj soln"),
    "Oral Tablet": ("tab", "tablet", "TABS", ""),
    "Oral Capsule": ("cap", "capsule"),
    "Oral Solution": ("oral soln", "liq"),
    "Topical Cream": ("cream",),
    "Topical Ointment": ("oint",),
    "Extended Release": ("ER", "XR", "SR"),
    "Delayed Release": ("DR", "EC"),
    "Ophthalmic Solution": ("eye drops",),
}


class Pair(NamedTuple):
    term: str
    name: str
    meaning: str
    """Pairs of one meaning are never each other's negatives."""


class Pairs:
    def __init__(self, data: Path, seed: int = 1) -> None:
        self.data, self.random = data, random.Random(seed)  # noqa: S311 - a sample, not a secret
        self.concepts = {row["concept_id"]: row for row in rows(data / "vocab" / "CONCEPT.csv")}
        self.held: set[str] = set()
        gold = list(self.gold())
        sources = {
            "hpo": self.hpo(), "icd10cm": self.icd10cm(), "unii": self.unii(),
            "vocabulary": self.vocabulary(), "loinc": self.loinc(), "rxnorm": self.rxnorm(),
        }  # fmt: skip
        drawn = [pair for name, pairs in sources.items() for pair in self.draw(pairs, SAMPLES[name])] + gold
        allowed = [pair for pair in drawn if not {text_key(pair.term), text_key(pair.name)} & self.held]
        self.dropped = len(drawn) - len(allowed)
        self.pairs = [pair._replace(term=self.written_otherwise(pair.term)) for pair in allowed]
        self.random.shuffle(self.pairs)

    def draw(self, pairs: Iterable[Pair], count: int) -> list[Pair]:
        distinct = list(dict.fromkeys(pairs))
        self.random.shuffle(distinct)
        return distinct[:count]

    def gold(self) -> Iterator[Pair]:
        for path in sorted((self.data / "gold").glob("*.tsv")):
            family, own = path.stem.split("_")[0], []
            for row in rows(path, csv.QUOTE_MINIMAL):
                term = row["source_term"].strip()
                if family in HELD_FAMILIES:
                    self.held.add(text_key(term))
                targets = [key for key in row["target_concept_ids"].split("|") if self.is_standard(key)]
                if term and targets and family in TRAINED_FAMILIES and not is_withheld(term):
                    own.append(self.pair_of(term, self.random.choice(targets)))
            self.random.shuffle(own)
            yield from own[:MOST_OF_A_SET]

    def is_standard(self, concept_id: str) -> bool:
        return self.concepts.get(concept_id, {}).get("standard_concept") == "S"

    def pair_of(self, term: str, concept_id: str) -> Pair:
        return Pair(term, self.concepts[concept_id]["concept_name"], concept_id)

    def standard(self, *vocabularies: str) -> Iterator[tuple[str, str]]:
        """The concept id and name of each standard concept."""
        for key, row in self.concepts.items():
            if row["vocabulary_id"] in vocabularies and row["standard_concept"] == "S":
                yield key, row["concept_name"]

    def is_open(self, concept_id: str) -> bool:
        row = self.concepts.get(concept_id)
        if row is None or row["vocabulary_id"] not in OPEN_VOCABULARIES:
            return False
        # HCPCS codes that begin with D are the American Dental Association's.
        return row["vocabulary_id"] != "HCPCS" or not row["concept_code"].startswith("D")

    def hpo(self) -> Iterator[Pair]:
        for row in rows(self.data / "open" / "hpo.tsv"):
            if row["scope"] == "EXACT" and row["name"]:
                yield Pair(row["synonym"], row["name"], row["id"])

    def icd10cm(self) -> Iterator[Pair]:
        for row in rows(self.data / "open" / "icd10cm_inclusion.tsv"):
            if row["kind"] == "inclusionTerm" and row["name"]:
                yield Pair(row["term"], row["name"], row["code"])

    def unii(self) -> Iterator[Pair]:
        ingredients = {
            name.lower(): key
            for key, name in self.standard("RxNorm", "RxNorm Extension")
            if self.concepts[key]["concept_class_id"] == "Ingredient"
        }
        systematic = re.compile(r"[\[({].*[\])}]|\d.*,.*\d")
        for row in rows(self.data / "open" / "unii.tsv"):
            term, key = row["name"], ingredients.get(row["preferred"].lower())
            if key and len(term) < 40 and not systematic.search(term):
                pair = self.pair_of(term.capitalize() if self.random.random() < 0.6 else term, key)
                if text_key(pair.term) != text_key(pair.name):
                    yield pair

    def vocabulary(self) -> Iterator[Pair]:
        for row in rows(self.data / "vocab" / "CONCEPT_SYNONYM.csv"):
            if self.is_open(row["concept_id"]):
                yield self.pair_of(row["concept_synonym_name"], row["concept_id"])
        for row in rows(self.data / "vocab" / "CONCEPT_RELATIONSHIP.csv"):
            source, target = row["concept_id_1"], row["concept_id_2"]
            is_other = row["relationship_id"] == "Maps to" and source != target
            if is_other and self.is_open(source) and self.is_open(target):
                yield self.pair_of(self.concepts[source]["concept_name"], target)
        for key, _ in self.standard("UCUM"):
            yield self.pair_of(self.concepts[key]["concept_code"], key)

    def loinc(self) -> Iterator[Pair]:
        """LOINC names as a laboratory may write them: analyte and specimen, without the property."""
        for key, name in self.standard("LOINC"):
            if axes := re.match(r"^(.+?) \[[^\]]+\] in ([A-Za-z ]+?)( by .*)?$", name):
                analyte, specimen, method = axes.groups()
                specimen = self.random.choice(SPECIMENS.get(specimen, (specimen,)))
                term = self.random.choice(LOINC_TERMS).format(a=analyte, s=specimen) if specimen else analyte
                yield self.pair_of(term + (method or "" if self.random.random() < 0.5 else ""), key)

    def rxnorm(self) -> Iterator[Pair]:
        """Drugs with abbreviated dose forms, strengths without a blank, and the form before the strength."""
        for key, name in self.standard("RxNorm", "RxNorm Extension"):
            if len(name) > 69 or " / " in name or " by " in name or not re.search(r"\d (MG|ML|UNT)", name):
                continue
            term = name
            for form, abbreviations in DOSE_FORMS.items():
                term = term.replace(form, self.random.choice(abbreviations))
            term = re.sub(r"(\d) (MG|ML|UNT|MEQ)", lambda match: match[1] + match[2].lower(), term)
            parts = re.match(r"^(.*?) (\d[\d.]*\s?\S+) (.*)$", term)
            if parts and self.random.random() < 0.5:
                term = f"{parts[1]} {parts[3]} {parts[2]}"
            if term != name:
                yield self.pair_of(" ".join(term.split()), key)

    def written_otherwise(self, term: str) -> str:
        """The term, in some cases in capitals or small letters, and in one of ten with a typing error."""
        draw = self.random.random()
        term = term.upper() if draw < 0.12 else term.lower() if draw < 0.3 else term
        if len(term) > 6 and self.random.random() < 0.1:
            i = self.random.randrange(1, len(term) - 2)
            swapped = term[:i] + term[i + 1] + term[i] + term[i + 2 :]
            term = self.random.choice((term[:i] + term[i + 1 :], swapped, term[:i] + term[i] + term[i:]))
        return term


def is_withheld(term: str) -> bool:
    """Whether a term of a trained family is kept for testing, and for the ranker: a third of them."""
    return zlib.crc32(term.strip().lower().encode()) % 3 == 0


def rows(path: Path, quoting: int = csv.QUOTE_NONE) -> Iterator[dict[str, str]]:
    csv.field_size_limit(10**9)
    with path.open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines, delimiter="\t", quoting=quoting)
