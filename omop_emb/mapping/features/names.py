"""Every feature of a term and a candidate by name, in the order of the columns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from omop_emb.mapping.retrieval.concept_attributes import LEVELS, PROPERTIES
from omop_emb.mapping.retrieval.lexicon import KINDS
from omop_emb.mapping.terms import contrasts

Put = Callable[[str, npt.NDArray[np.generic] | float], None]
"""Takes a feature's name and its values for all candidates of a term."""

HABITS = ("concept", "vocabulary", "domain", "property", "system", "method", "kind of drug")
"""What a candidate may share with the targets of the approved names that are most like a term."""

ALIASES = ("memory lexical", "memory dense", "memory exact")
"""How like a term a candidate's own approved names are."""

GROUPS = ("original", "rewritten", "part")
"""Forms are compared in three groups: the term, the same in other words, and a part of it."""

VOCABULARIES = (
    "SNOMED",
    "LOINC",
    "RxNorm",
    "RxNorm Extension",
    "UCUM",
    "HCPCS",
    "ICD10PCS",
    "ICD9Proc",
    "ICDO3",
    "OMOP Extension",
    "OMOP Genomic",
    "Cancer Modifier",
    "NAACCR",
    "ATC",
    "CVX",
)
DOMAINS = (
    "Condition",
    "Drug",
    "Measurement",
    "Procedure",
    "Observation",
    "Unit",
    "Device",
    "Meas Value",
    "Spec Anatomic Site",
    "Specimen",
)

PAIR = (
    *(f"dense {group}" for group in GROUPS),
    *(f"lexical {group}" for group in GROUPS),
    *(f"term words found, {group}" for group in GROUPS),
    *(f"concept words found, {group}" for group in GROUPS),
    *(f"reads alike, {group}" for group in GROUPS),
    "same letters",
    *(f"matched {kind}" for kind in KINDS[1:]),
    "dense rank",
    "lexical rank",
    "joint rank",
    *ALIASES,
    "memory approvals",
    "memory nearness",
    *(f"memory {habit}" for habit in HABITS),
    "joint score",
    "dense squared",
    "lexical squared",
)
STATIC = (
    "found by exact",
    "found by dense and lexical",
    "same unit",
    "same unit, alone",
    "numbers of the term missing",
    "numbers of the concept extra",
    "concept longer",
    "concept shorter",
    "strengths agree",
    "strengths differ",
    "strength only in the concept",
    "strength only in the term",
    "forms agree",
    "forms differ",
    "form only in the concept",
    "form only in the term",
    "brand in the term",
    "brand not in the term",
    "more ingredients than the term",
    "box",
    "supplier",
    "quantity",
    *(f"drug: {level}" for level in LEVELS),
    *(f"drug: {level}, term has a strength" for level in LEVELS),
    *(f"property {name}" for name in (*PROPERTIES, "other")),
    "analyte in the term",
    "term is the analyte",
    "method not in the term",
    "timing stated",
    "24 hours agree",
    "24 hours only in the concept",
    *(f"{group} differs" for group in contrasts.groups()),
    *(f"{group} only in the concept" for group in contrasts.groups()),
    *(f"{group} only in the term" for group in contrasts.groups()),
    "specimen agrees",
    "serum or plasma by default",
    "blood by default",
    "serum or plasma for blood",
    "non-standard sources",
    "oldest concepts",
    "early concept",
    "early LOINC",
    *(f"vocabulary {name}" for name in VOCABULARIES),
    *(f"domain {name}" for name in DOMAINS),
    *(f"domain {name}, none asked for" for name in DOMAINS),
)
NAMES: tuple[str, ...] = (*PAIR, *STATIC)
"""Every feature, in the order of the columns."""
