"""Features of contrasts: by the variant that matched, with the usual specimen where a term names none."""

from __future__ import annotations

import pytest

from omop_emb.mapping.retrieval.queries import Query
from omop_emb.mapping.terms.variants import query_variants
from tests.unit.mapping.small_index import features_of, small_index

OTHER = {"specimen only in the concept", "not the default specimen"}
TEST = {"domain_id": "Measurement", "vocabulary_id": "LOINC"}


def features(term: str, concept: str, domain: str = "Condition") -> set[str]:
    """The features of contrasts that a term and a concept have."""
    concept_row = {"concept_id": 1, "concept_name": concept, **(TEST if domain == "Measurement" else {})}
    index = small_index([concept_row])
    row = features_of(Query.of(query_variants(term, domain=domain), domain), index).loc[1]
    contrasts = ("differs", "only in", "specimen", "default")
    return {
        str(name) for name, value in row.items() if value and any(part in str(name) for part in contrasts)
    }


@pytest.mark.parametrize(
    ("term", "concept", "expected"),
    [
        ("COPD", "Chronic obstructive pulmonary disease", set()),
        ("L knee pain", "Pain of left knee", set()),
        ("L knee pain", "Pain of right knee", {"laterality differs"}),
        ("Upper GI bleed", "Lower gastrointestinal bleeding", {"another contrast differs"}),
        ("GI bleed", "Lower gastrointestinal bleeding", {"another contrast only in the concept"}),
        ("Knee replacement", "Total knee replacement", set()),
        ("Partial knee replacement", "Total knee replacement", {"another contrast differs"}),
    ],
)
def test_contrasts_are_those_of_the_variant_that_matched(term: str, concept: str, expected: set[str]) -> None:
    assert features(term, concept) == expected


@pytest.mark.parametrize(
    ("term", "concept", "expected"),
    [
        ("Magnesium", "Magnesium [Mass/volume] in Serum or Plasma", {"serum or plasma by default"}),
        ("Magnesium", "Magnesium [Mass/volume] in Blood", {"blood by default"}),
        ("Magnesium", "Magnesium [Mass/volume] in Urine", OTHER),
        ("Magnesium", "Magnesium [Mass/volume] in Red Blood Cells", OTHER),
        ("Hemoglobin", "Hemoglobin [Mass/volume] in Plasma", {"not the default specimen"}),
        ("Hemoglobin", "Hemoglobin [Mass/volume] in Blood", {"blood by default"}),
        ("Magnesium urine", "Magnesium [Mass/volume] in Urine", {"specimen agrees"}),
    ],
)
def test_a_term_without_a_specimen_means_the_usual_one(term: str, concept: str, expected: set[str]) -> None:
    assert features(term, concept, "Measurement") == expected
