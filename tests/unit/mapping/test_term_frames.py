"""Terms from Python: what is no list of terms is refused in one line that names the first wrong one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from omop_emb.errors import InputError
from omop_emb.mapping.records import SourceTerm
from omop_emb.mapping.term_frames import source_terms


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ("abc", "a list of texts or SourceTerms; found one str"),
        (b"abc", "found one bytes"),
        (None, "found one NoneType"),
        (7, "found one int"),
        ({"name": "abc"}, "found one dict"),
        (SourceTerm(name="abc"), "found one SourceTerm"),
        (["abc", None], r"terms\[1\] is a text or a SourceTerm; found a missing value"),
        (["abc", float("nan")], r"terms\[1\] .* found a missing value"),
        ([pd.NA], r"terms\[0\] .* found a missing value"),
        ([b"abc"], r"terms\[0\] .* found bytes"),
        ([12], r"terms\[0\] .* found int"),
        ([["abc"]], r"terms\[0\] .* found list"),
        (pd.DataFrame({"term": ["abc"]}), "a column 'name' is needed; found term"),
        (pd.DataFrame([["a", "b"]], columns=["name", "name"]), "appears twice"),
        (pd.DataFrame({"name": ["a"], "frequency": ["often"]}), r"terms\[0\]: its frequency"),
    ],
)
def test_what_is_no_list_of_terms_is_refused(terms: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        source_terms(terms)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "terms",
    [
        ["a", "b"],
        ("a", SourceTerm(name="b")),
        (name for name in "ab"),
        pd.Series(["a", "b"]),
        np.array(["a", "b"]),
        pd.DataFrame({"name": ["a", "b"], "frequency": [1.0, None], "code": [7.0, None]}),
    ],
)
def test_any_iterable_of_texts_is_taken(terms: Any) -> None:
    assert [term.name for term in source_terms(terms)] == ["a", "b"]


def test_no_terms_are_no_error() -> None:
    assert source_terms([]) == []


def test_a_frame_is_read_as_it_is_meant() -> None:
    frame = pd.DataFrame(
        {"name": ["a"], "frequency": ["1,204"], "code": [317009.0], "ward": [3.0], "x": [pd.NA]}
    )
    assert source_terms(frame) == [SourceTerm(name="a", frequency=1204, code="317009", extra={"ward": "3"})]
