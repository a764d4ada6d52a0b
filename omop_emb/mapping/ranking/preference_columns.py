"""Preference columns: what a site may prefer where terms do not say it, as columns of candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omop_emb.arrays import Floats, Ints
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.retrieval.drug_attributes import LEVELS

_DOMAINS = ("Condition", "Drug", "Measurement", "Procedure", "Observation", "Unit")
_OTHER = "other domains"


@dataclass(frozen=True)
class PreferenceColumn:
    """A feature, or the product of several, of the concepts of a domain ("" for all)."""

    kind: str  # such as "drug": columns of a kind are explained together
    value: str  # such as "ingredient"; "" is explained by its kind alone
    features: tuple[str, ...]
    domain: str = ""
    refines: bool = False  # whether it only adds to another column of the same value, for some terms


def _columns() -> tuple[PreferenceColumn, ...]:
    column = PreferenceColumn
    prefixed = {
        kind: [name.removeprefix(f"{kind} ") for name in NAMES if name.startswith(f"{kind} ")]
        for kind in ("property", "vocabulary")
    }
    drug_details = (
        *("strength only in the term", "strength left out", "strength only in the concept"),
        *("dose form only in the concept", "dose form only in the term", "more ingredients than the term"),
    )
    specimens = (
        ("serum or plasma", "serum or plasma by default"),
        ("blood", "blood by default"),
        *(("", name) for name in ("serum or plasma for blood", "not the default specimen")),
        ("", "specimen only in the concept"),
    )
    susceptibility = ("method not in the term", "property Susceptibility")
    return (
        *(column("drug", level, (f"drug: {level}",)) for level in LEVELS),
        *(column("drug", level, (f"drug: {level}, term has a strength",), refines=True) for level in LEVELS),
        *(column("drug", "", (name,)) for name in drug_details),
        *(column("brand", "yes", (name,)) for name in ("brand in the term", "brand not in the term")),
        *(column("package", "yes", (name,)) for name in ("box", "supplier", "quantity")),
        *(column("property", name, (f"property {name}",)) for name in prefixed["property"]),
        column("method", "yes", ("method not in the term",)),
        column("method", "yes", susceptibility, refines=True),
        column("timing", "yes", ("timing stated",)),
        *(column("specimen", value, (name,)) for value, name in specimens),
        *(
            column("vocabulary", name, (f"vocabulary {name}",), domain)
            for name in prefixed["vocabulary"]
            for domain in (*_DOMAINS, _OTHER)
        ),
        *(column("use", "", (name,)) for name in ("oldest concepts", "early concept", "early LOINC")),
    )


COLUMNS = _columns()
"""Everything that a site may prefer."""

_FEATURES = tuple(np.array([NAMES.index(name) for name in column.features]) for column in COLUMNS)


def preference_columns(features: Floats, domains: Sequence[str], chosen: Ints | None = None) -> Floats:
    """(p, columns) of (p, features) of candidates in the given domains; chosen: numbers of COLUMNS."""
    numbers = range(len(COLUMNS)) if chosen is None else chosen.tolist()
    labels = np.asarray(domains, dtype=object)
    inside = {domain: labels == domain for domain in _DOMAINS}
    inside[_OTHER] = ~np.isin(labels, _DOMAINS)
    table = np.zeros((len(features), len(numbers)), np.float32)
    for place, number in enumerate(numbers):
        values = features[:, _FEATURES[number]].prod(axis=1)
        domain = COLUMNS[number].domain
        table[:, place] = values * inside[domain] if domain else values
    return table
