"""Signs: what they say, where a term and a concept differ in them, and that such a concept needs a person."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.ranking.calibration import PrecisionCurve
from omop_emb.mapping.ranking.linear import default_ranker
from omop_emb.mapping.ranking.policy import Policy, is_acceptable
from omop_emb.mapping.records import Decision, Variant
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.queries import Query
from omop_emb.mapping.terms.signs import differences, objection, signs_of
from tests.unit.mapping.small_index import candidates_of, features_of, small_index

DIFFER = (
    ("Blood group B Rh -", "Blood group B Rh", "polarity: the term says negative"),
    ("Rh pos", "Rh(D) negative", "polarity: positive in the term, negative in the concept"),
    ("HBsAg +", "Hepatitis B surface antigen negative", "polarity"),
    ("HBsAg (-)", "Hepatitis B surface antigen positive", "polarity"),
    ("HIV -ve", "HIV positive", "polarity"),
    ("HIV+ve", "HIV negative", "polarity"),
    ("Syphilis reactive", "Syphilis non-reactive", "polarity"),
    ("Syphilis nonreactive", "Syphilis reactive", "polarity"),
    ("SARS-CoV-2 not detected", "SARS-CoV-2 detected", "polarity"),
    ("SARS-CoV-2 RNA undetectable", "SARS-CoV-2 RNA detectable", "polarity"),
    ("No Salmonella detected", "Salmonella detected", "polarity"),
    ("CD4+ cells", "CD4- cells", "polarity"),
    ("ER+ PR-", "ER- PR+", "polarity"),
    ("O Rh+", "Blood group O Rh(D)", "polarity"),
    ("COVID positief", "COVID-19 negative", "polarity"),
    ("HIV +/-", "HIV positive", "polarity"),
    ("Protein ++", "Protein +", "polarity"),
    ("Blood group O", "Blood group O Rh(D) positive", "polarity: the concept says positive"),
    ("Viral load < 1000", "Viral load > 1000", "comparator: < 1000 in the term, > 1000 in the concept"),
    ("Viral load < 1000", "Viral load greater than 1000", "comparator"),
    ("BMI >= 30", "BMI > 30", "comparator"),
    ("BMI \u2264 30", "BMI \u2265 30", "comparator"),
    ("Age < 5", "Age", "comparator: the term says < 5"),
    ("18 years or older", "18 years or younger", "comparator"),
    ("BMI 40+", "BMI 30+", "comparator"),
    ("10*-3/dL", "10*3/dL", "power of ten: -3 in the term, 3 in the concept"),
    ("10\u207b\u00b3/L", "10\u00b3/L", "power of ten"),
    ("x10^9/L", "x10E12/L", "power of ten"),
    ("10e-6/L", "10e6/L", "power of ten"),
    ("10^-3 /L", "per liter", "power of ten"),
    ("Freezer at -80", "Freezer at 80", "negative number"),
    ("\u2191 TSH", "\u2193 TSH", "direction"),
)
AGREE = (
    ("Blood group B Rh -", "Blood group B Rh(D) negative"),
    ("HBsAg +", "Hepatitis B surface antigen positive"),
    ("HIV +ve", "HIV pos."),
    ("Syphilis: reactive", "Syphilis positive"),
    ("SARS-CoV-2 not detected", "SARS-CoV-2 negative"),
    ("BMI 30+", "Body mass index greater than or equal to 30"),
    ("Viral load < 1,000", "Viral load less than 1000"),
    ("age 65 or over", "Age >= 65"),
    ("x10E9/L", "10*9/L"),
    ("10\u2079/L", "10^9/L"),
    ("T-cell count", "T cell count"),
    ("Na+", "Sodium"),
    ("Ca2+", "Calcium"),
    ("Cl-", "Chloride"),
    ("CRP", "C-reactive protein"),
    ("CPAP", "Continuous positive airway pressure"),
    ("COVID-19", "COVID 19"),
    ("pre- and postnatal care", "prenatal and postnatal care"),
    ("paracetamol + codeine", "acetaminophen / codeine"),
    ("paracetamol+codeine", "codeine and paracetamol"),
    ("HIV 1+2 antibody", "HIV 1 and 2 antibody"),
    ("Score 0-10", "Score"),
    ("Until 2021- nurse visit", "nurse visit until 2021"),
    ("2- to 3-week course", "two week course"),
    ("WBC 10^9/L", "Leukocytes [#/volume] in Blood"),
    ("Glucose --2 hours post meal", "Glucose 2 hours post meal"),
    ("Interferon alfa-2b", "interferon alfa 2b"),
)


@pytest.mark.parametrize(("term", "concept", "flag"), DIFFER)
def test_a_difference_in_signs_is_said_and_objected_to(term: str, concept: str, flag: str) -> None:
    found = differences(signs_of(term), signs_of(concept))
    assert any(one.startswith(flag) for one in found), found
    assert objection(found)


@pytest.mark.parametrize(("term", "concept"), AGREE)
def test_signs_that_say_the_same_or_nothing_do_not_differ(term: str, concept: str) -> None:
    assert differences(signs_of(term), signs_of(concept)) == []


def test_a_reciprocal_is_no_unit_of_the_same_name() -> None:
    assert differences(signs_of("/fl"), signs_of("femtoliter"), is_unit=True)
    assert not differences(signs_of("/fl"), signs_of("per femtoliter"), is_unit=True)
    assert not differences(signs_of("1/min"), signs_of("beats"), is_unit=True, same_unit=True)


def query_of(name: str, domain: str | None = None) -> Query:
    return Query.of((Variant(name),), domain)


def test_a_concept_agrees_if_one_of_its_own_texts_does() -> None:
    unit = {"domain_id": "Unit", "vocabulary_id": "UCUM", "concept_class_id": "Unit"}
    lexical = small_index(
        [{"concept_id": 1, "concept_name": "thousand per deciliter", "concept_code": "10*3/dL", **unit}]
    )
    differ = {
        name: features_of(query_of(name, "Unit"), lexical)["signs differ"].tolist()
        for name in ("10^3/dL", "thousand/dL", "10*-3/dL")
    }
    assert differ == {"10^3/dL": [0], "thousand/dL": [0], "10*-3/dL": [1]}


def test_a_text_that_differs_in_a_sign_is_not_approved_before() -> None:
    unit = {"domain_id": "Unit", "vocabulary_id": "UCUM", "concept_class_id": "Unit"}
    lexical = small_index([{"concept_id": 1, "concept_name": "thousand per deciliter", **unit}])
    memory = MemoryIndex(lexical, ["10*3/dL"], np.array([0]))
    approved = {
        name: bool(features_of(query_of(name), lexical, memory)["memory exact"].any())
        for name in ("10*3/dL", "10*3 / dl", "10*-3/dL", "10 3/dL", "10*3.dL")
    }
    assert [name for name, is_approved in approved.items() if is_approved] == ["10*3/dL", "10*3 / dl"]


def test_the_exact_retriever_sees_signs_but_no_punctuation() -> None:
    lexical = small_index(
        [
            {"concept_id": number, "concept_name": name}
            for number, name in enumerate(("Blood group B Rh", "Viral load > 1000", "Heart failure"), start=1)
        ]
    )

    def found(name: str) -> list[int]:
        candidates = candidates_of(query_of(name), lexical)
        rows = candidates.concept[candidates.found_by["exact"]]
        return [int(concept_id) for concept_id in lexical.lexicon.concept_id[rows]]

    assert found("Blood group B Rh -") == []
    assert found("Viral load < 1000") == []
    assert found("heart-failure") == [3]


def test_differing_signs_forbid_acceptance_unless_a_person_approved_this_very_text() -> None:
    features = np.zeros((3, len(NAMES)), np.float32)
    features[1:, NAMES.index("signs differ")] = 1
    features[2, NAMES.index("memory exact")] = 1
    assert is_acceptable(features).tolist() == [True, False, True]


def test_the_reason_names_the_sign_that_forbids_acceptance() -> None:
    shipped = default_ranker()
    assert shipped.calibration is not None
    curve = PrecisionCurve(probability=(0.5,), count=(1000,), right=(1000,))
    sure = replace(shipped, calibration=replace(shipped.calibration, curves={"Unit": curve}))
    policy = Policy(accept_precision=0.95, accept_untrained=True)
    assert policy.decide(0.99, "Unit", sure)[0] is Decision.ACCEPT
    decision, reason = policy.decide(0.99, "Unit", sure, objection="power of ten: -3 in the term")
    assert (decision, reason) == (Decision.REVIEW, "probability 0.99, but power of ten: -3 in the term")
