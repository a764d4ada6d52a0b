"""Reasons: what speaks for a candidate rather than its rival, in a reader's words instead of features."""

from __future__ import annotations

from functools import cache

from omop_emb.arrays import Floats
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.ranking.calibration import APPROVED_BONUS
from omop_emb.mapping.ranking.ranker import APPROVED_COLUMN, Ranker
from omop_emb.mapping.ranking.site_preferences import NO_PREFERENCES, SitePreferences
from omop_emb.mapping.records import Contribution

# Beginning of a feature's name -> the reason that it is a part of; the longest beginning counts. Features of
# one reason say nearly the same, and only their sum means something.
_REASONS = {
    "normalised equal": "equal text",
    "exact equal": "equal text",
    "found by exact": "equal text",
    "dense": "similar meaning",
    "lexical": "similar spelling",
    "joint": "similar meaning and spelling",
    "rank by joint score": "similar meaning and spelling",
    "found by dense and lexical": "similar meaning and spelling",
    "term words found": "words in common",
    "concept words found": "words in common",
    "matched": "kind of name that matched",
    "memory": "similar approved names of this site",
    "memory lexical": "approved names",
    "memory dense": "approved names",
    "memory exact": "approved names",
    "memory approvals": "approved names",
    "memory concept": "approved names",
    "same unit": "unit",
    "numbers": "numbers",
    "concept longer": "length of the name",
    "concept shorter": "length of the name",
    "strength": "strength",
    "dose form": "dose form",
    "brand": "brand",
    "more ingredients": "number of ingredients",
    "box": "package",
    "supplier": "package",
    "quantity": "package",
    "drug:": "kind of drug",
    "property": "property measured",
    "analyte": "analyte",
    "term is the analyte": "analyte",
    "method": "method",
    "timing": "time of collection",
    "24 hours": "time of collection",
    "specimen": "specimen",
    "serum or plasma": "specimen",
    "blood by default": "specimen",
    "not the default specimen": "specimen",
    "signs differ": "signs",
    "non-standard sources": "how much the concept is used",
    "oldest concepts": "how much the concept is used",
    "early": "how much the concept is used",
    "vocabulary": "vocabulary",
    "domain": "domain",
    "rank by": "order of the shipped ranker",
    "score of": "order of the shipped ranker",
    "space ": "similar meaning in a further space",
}
_CONTRAST_ENDINGS = (" differs", " only in the concept", " only in the term")
_MIN_CONTRIBUTION = 0.005  # a smaller one is written as 0.00


@cache
def reason_of(feature: str) -> str:
    """The reason that a feature is a part of; a contrast's is its name."""
    beginnings = [start for start in _REASONS if feature.startswith(start)]
    if beginnings:
        return _REASONS[max(beginnings, key=len)]
    return next((feature.removesuffix(end) for end in _CONTRAST_ENDINGS if feature.endswith(end)), feature)


def compare(
    ranker: Ranker,
    own: tuple[Floats, str],
    rival: tuple[Floats, str] | None,
    preferences: SitePreferences = NO_PREFERENCES,
) -> tuple[Contribution, ...]:
    """What raises (positive) or lowers the score of a candidate against its rival's, strongest first.

    Args:
        ranker: the ranker that scored both.
        own: columns and domain of the candidate.
        rival: those of the candidate that it is compared with; None if there is none.
        preferences: the site's, which were added to both scores.
    """
    sums = preferences.reasons(own, rival)
    for sign, candidate in ((1, own), (-1, rival)):
        if candidate is None:
            continue
        columns, domain = candidate
        parts = ranker.contributions(columns, domain)
        parts[NAMES[APPROVED_COLUMN]] += APPROVED_BONUS * float(columns[APPROVED_COLUMN])
        for feature, part in parts.items():
            reason = reason_of(feature)
            sums[reason] = sums.get(reason, 0.0) + sign * part
    strongest = sorted(sums.items(), key=lambda entry: -abs(entry[1]))
    return tuple(
        Contribution(reason, total) for reason, total in strongest if abs(total) >= _MIN_CONTRIBUTION
    )
