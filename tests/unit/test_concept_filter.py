"""Concept filters of callers: what is taken, and what is refused in one line."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from omop_emb.errors import InputError
from omop_emb.mapping.settings import Settings
from omop_emb.records import ConceptFilter


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ([2, 1, 2], (1, 2)),
        ({3}, (3,)),
        (range(2), (0, 1)),
        ([5.0, Decimal(6)], (5, 6)),
        (np.array([7, 8], np.int64), (7, 8)),
        (np.array([7.0]), (7,)),
        (pd.Series([9]), (9,)),
        ([2**31 - 1], (2**31 - 1,)),
        ([], ()),
        (None, None),
    ],
)
def test_whole_numbers_of_any_kind_are_concept_ids(given: Any, ids: Any) -> None:
    assert ConceptFilter(concept_ids=given).concept_ids == ids


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"concept_ids": 5}, "concept_ids must be a sequence; found int"),
        ({"concept_ids": "1,2"}, "concept_ids must be a sequence; found str"),
        ({"concept_ids": {1: "a"}}, "concept_ids must be a sequence; found dict"),
        ({"concept_ids": ["1"]}, "a concept id is a whole number; found '1'"),
        ({"concept_ids": [1.5]}, "a concept id is a whole number; found 1.5"),
        ({"concept_ids": [float("nan")]}, "a concept id is a whole number; found nan"),
        ({"concept_ids": [float("inf")]}, "a concept id is a whole number; found inf"),
        ({"concept_ids": [None]}, "a concept id is a whole number; found None"),
        ({"concept_ids": [True]}, "a concept id is a whole number; found True"),
        ({"concept_ids": [2**31]}, "a concept id must fit 32 bits; found 2147483648"),
        ({"concept_ids": [-(2**63)]}, "a concept id must fit 32 bits; found -9223372036854775808"),
        ({"concept_ids": [10**5000]}, "a concept id must fit 32 bits"),
        ({"domains": 5}, "domains must be a sequence; found int"),
        ({"domains": {"Condition": True}}, "domains must be a sequence; found dict"),
        ({"vocabularies": [1]}, "vocabularies must be names; found int in it"),
        ({"concept_classes": [None]}, "concept_classes must be names; found NoneType in it"),
        ({"standard_only": "yes"}, "standard_only must be True or False; found 'yes'"),
        ({"valid_only": 1}, "valid_only must be True or False; found 1"),
    ],
)
def test_what_is_no_filter_is_refused_in_one_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        ConceptFilter(**fields)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("given", [{"domains": "Condition"}, "Condition", ["Condition"], None])
def test_settings_of_mapping_take_only_a_filter(given: Any) -> None:
    with pytest.raises(InputError, match="must be a ConceptFilter"):
        Settings(concept_filter=given)
