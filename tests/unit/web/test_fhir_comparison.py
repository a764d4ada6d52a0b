"""The comparison that HL7's tests are judged by: what passes, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.fhir_comparison import Comparison

UUID = "urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"a": 1, "b": "x"}, {"b": "x", "a": 1}),
        ([{"name": "a"}, {"name": "b"}], [{"name": "b"}, {"name": "a"}]),
        ({"id": "$uuid$"}, {"id": UUID}),
        ({"at": "$instant$"}, {"at": "2026-11-29T01:02:03.456Z"}),
        ({"text": "$$"}, {"text": "anything"}),
        ({"text": "$choice:a|b$"}, {"text": "b"}),
        ({"text": "$fragments:Code|found$"}, {"text": "the code was not found"}),
        ({"version": "$version$"}, {"version": "5.0.0"}),
        ({"$optional-properties$": ["id"], "id": "x", "a": 1}, {"a": 1}),
        ({"$optional-properties$": ["id"], "id": "x", "a": 1}, {"id": "x", "a": 1}),
        ([{"name": "a"}, {"name": "b", "$optional$": True}], [{"name": "a"}]),
        ([{"name": "b", "$optional$": "!tx.fhir.org"}], []),
        ([{"name": "b", "$optional$": "version:5"}], []),
        ([{"name": "b", "$optional$": "warning:version"}], []),
        ({"extension": [{"$optional$": "!tx.fhir.org", "url": "x"}]}, {}),
        ({"$count-arrays$": ["a"], "a": [1, 2]}, {"a": [5, 6]}),
    ],
)
def test_an_answer_that_is_as_expected_passes(expected: Any, actual: Any) -> None:
    assert Comparison("5.0.0").difference(expected, actual) == ""


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": "1"}),
        ({"a": True}, {"a": 1}),
        ({"a": 1}, {}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"id": "$uuid$"}, {"id": "0f8fad5b"}),
        ({"at": "$instant$"}, {"at": "2026-11-29"}),
        ({"text": "$choice:a|b$"}, {"text": "c"}),
        ({"text": "$fragments:Code|found$"}, {"text": "the code exists"}),
        ([{"name": "a"}], [{"name": "a"}, {"name": "a"}]),
        ([{"name": "a"}, {"name": "a"}], [{"name": "a"}]),
        ([{"name": "a"}, {"name": "b"}], [{"name": "a"}, {"name": "c"}]),
        ([{"name": "b", "$optional$": "version:4"}], []),
        ([{"name": "b", "$optional$": "omop"}], []),
        ([{"name": "b", "$optional$": True}], [{"name": "c"}]),
        ({"$count-arrays$": ["a"], "a": [1, 2]}, {"a": [1]}),
        ({"a": []}, {"a": {}}),
        ([], None),
    ],
)
def test_an_answer_that_differs_fails_and_says_where(expected: Any, actual: Any) -> None:
    assert Comparison("5.0.0").difference(expected, actual, "answer").startswith("answer")
