"""What a LOINC name measures: its analyte, and the words by which a term asks for one."""

from __future__ import annotations

import re

_AXES = re.compile(
    r"(?P<analyte>.+?)(?: \[(?P<property>[^\]]+)\])?(?: panel)?"
    r"(?: (?:in|-|of) (?P<system>[A-Z0-9][^\[\]]*?))?(?: (?:by|using) (?P<method>.+?))?(?: --.+)?"
)
_WHOLE_DAY = re.compile(r"\b24\s?-?\s?h|^d[UF]\b")

NO_ANALYTE = frozenset(
    """
    a an and by concentration count fluid gas hematology chemistry in lab level levels measure measurement
    measures of or other body amount test the to
    """.split()
)
"""Words of a term that say that something is measured, or in which department, but not what."""


def axes(name: str) -> tuple[str, str, str, str]:
    """(analyte, property, system, method) of a LOINC name, "" for what it leaves out.

    "Glucose [Mass/volume] in Serum by Test strip" has all; unlike lexicon.loinc_name, this takes names
    without a property too, such as "Monocytes/100 leukocytes in Blood".
    """
    found = _AXES.fullmatch(name)
    if found is None:
        return name, "", "", ""
    return found["analyte"], found["property"] or "", found["system"] or "", found["method"] or ""


def whole_day(text: str) -> bool:
    """Whether a term is of what was collected in 24 hours: "24 hr Creatinine", "dU-Prot"."""
    return _WHOLE_DAY.search(text) is not None
