"""Laboratory names: the axes of a LOINC name, and the words by which a term names an analyte."""

from __future__ import annotations

import re

_LOINC = re.compile(
    r"^(?P<analyte>.+?) \[(?P<property>[^\]]+)\](?: in (?P<system>.+?))?(?: by (?P<method>.+?))?"
    r"(?: --(?P<timing>.+))?$"
)
_AXES = re.compile(
    r"(?P<analyte>.+?)(?: \[(?P<property>[^\]]+)\])?(?: panel)?"
    r"(?: (?:in|-|of) (?P<system>[A-Z0-9][^\[\]]*?))?(?: (?:by|using) (?P<method>.+?))?(?: --.+)?"
)
_24_HOURS = re.compile(r"\b24\s?-?\s?h|^d[UF]\b")

NO_ANALYTE = frozenset(
    """
    a an and by concentration count fluid gas hematology chemistry in lab level levels measure measurement
    measures of or other body amount test the to cerebral spinal
    """.split()
)
"""Words of a term that say that something is measured, or in which department, but not what."""


def parse_loinc_name(name: str) -> dict[str, str] | None:
    """analyte, property, system, method and timing, "" if not stated; None for a name without a property.

    "Glucose [Mass/volume] in Serum by Test strip" states all but the timing.
    """
    match = _LOINC.match(name)
    return None if match is None else {axis: text or "" for axis, text in match.groupdict().items()}


def loinc_axes(name: str) -> tuple[str, str, str, str]:
    """(analyte, property, system, method) of a LOINC name, "" for an axis that it does not state.

    Unlike parse_loinc_name(), this reads names without a property: "Monocytes/100 leukocytes in Blood".
    """
    match = _AXES.fullmatch(name)
    if match is None:
        return name, "", "", ""
    return match["analyte"], match["property"] or "", match["system"] or "", match["method"] or ""


def is_24_hour(text: str) -> bool:
    """Whether a term is about a 24-hour collection: "24 hr Creatinine", "dU-Prot"."""
    return _24_HOURS.search(text) is not None
