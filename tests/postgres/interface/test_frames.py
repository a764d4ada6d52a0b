"""nearest_concepts_frame: what becomes of a frame's rows, index, columns and missing texts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sqlalchemy.orm import Session

from omop_emb import ConceptFilter, EmbeddingInterface, IndexType, MetricType, nearest_concepts_frame
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import InputError

NEW = [
    "rank",
    "concept_id",
    "concept_name",
    "domain_id",
    "vocabulary_id",
    "concept_class_id",
    "standard_concept",
    "concept_code",
    "matched_text",
    "distance",
    "similarity",
]
DTYPES = ["Int64", "Int64", *["string"] * 7, "float64", "float64"]


@pytest.fixture(scope="module")
def interface() -> EmbeddingInterface:
    return EmbeddingInterface(EmbeddingClient("local:all-MiniLM-L6-v2"))


@pytest.fixture
def filled(interface: EmbeddingInterface, session: Session) -> Session:
    interface.embed_and_upsert_concepts(
        session=session,
        index_type=IndexType.FLAT,
        concept_ids=(316866, 4329847, 1503297),
        concept_texts=("Hypertensive disorder", "Myocardial infarction", "Metformin"),
    )
    return session


def test_each_row_gets_its_concept_and_keeps_its_columns(
    interface: EmbeddingInterface, filled: Session
) -> None:
    frame = pd.DataFrame(
        {"term": ["heart attack", None, "heart attack", np.nan, "  ", "metformin"], "count": range(6)},
        index=pd.Index(["a", "b", "b", "c", "d", "e"], name="row"),
    )
    before = frame.copy()
    found = nearest_concepts_frame(frame, column="term", session=filled, interface=interface)
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(found[["term", "count"]], before)
    assert list(found.columns) == ["term", "count", *NEW]
    assert [str(dtype) for dtype in found.dtypes[2:]] == DTYPES
    assert found["concept_id"].tolist() == [4329847, pd.NA, 4329847, pd.NA, pd.NA, 1503297]
    assert found["rank"].tolist() == [1, pd.NA, 1, pd.NA, pd.NA, 1]
    assert found["concept_name"].isna().tolist() == [False, True, False, True, True, False]
    assert found["similarity"].isna().tolist() == [False, True, False, True, True, False]


def test_a_row_is_repeated_for_each_of_its_concepts(interface: EmbeddingInterface, filled: Session) -> None:
    index = pd.MultiIndex.from_tuples([("x", 1), ("y", 2)])
    frame = pd.DataFrame({"term": pd.Categorical(["heart attack", None])}, index=index)
    found = nearest_concepts_frame(
        frame,
        column="term",
        session=filled,
        interface=interface,
        k=2,
        prefix="nearest_",
        metric_type=MetricType.L2,
    )
    assert found.index.tolist() == [("x", 1), ("x", 1), ("y", 2)]
    assert isinstance(found["term"].dtype, pd.CategoricalDtype)
    assert found["nearest_rank"].tolist() == [1, 2, pd.NA]
    assert found["nearest_concept_id"].tolist()[0] == 4329847
    assert found["nearest_distance"].iloc[0] < found["nearest_distance"].iloc[1]


def test_a_filter_that_no_concept_passes_keeps_the_rows(
    interface: EmbeddingInterface, filled: Session
) -> None:
    found = nearest_concepts_frame(
        pd.DataFrame({"term": ["gout", "asthma"]}),
        column="term",
        session=filled,
        interface=interface,
        concept_filter=ConceptFilter(concept_ids=()),
    )
    assert found["concept_id"].isna().tolist() == [True, True]


def test_an_empty_frame_gets_the_columns(interface: EmbeddingInterface, filled: Session) -> None:
    frame = pd.DataFrame({"term": pd.Series([], dtype="string")})
    found = nearest_concepts_frame(frame, column="term", session=filled, interface=interface)
    assert len(found) == 0
    assert [str(dtype) for dtype in found.dtypes] == ["string", *DTYPES]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"other": ["a"]}), "has no column 'term'; its columns are 'other'"),
        (pd.DataFrame([["a", "b"]], columns=["term", "term"]), "has 2 columns 'term'"),
        (pd.DataFrame({"term": ["a"], "rank": [1]}), "already has a column 'rank': give a prefix"),
        (pd.DataFrame({"term": ["a", 5]}), "text 1 must be a str; found int"),
        (pd.DataFrame({"term": ["a", "\ud800"]}, dtype=object), "row 1 of column 'term' cannot be embedded"),
    ],
)
def test_a_frame_that_cannot_be_searched_is_refused_in_one_line(
    interface: EmbeddingInterface, filled: Session, frame: pd.DataFrame, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        nearest_concepts_frame(frame, column="term", session=filled, interface=interface)


def test_without_a_session_the_active_space_of_the_environment_is_searched(
    interface: EmbeddingInterface, filled: Session, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.commit()
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", database_url)
    found = nearest_concepts_frame(pd.DataFrame({"term": ["heart attack"]}), column="term")
    assert found["concept_id"].tolist() == [4329847]
