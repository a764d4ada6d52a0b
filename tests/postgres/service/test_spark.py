"""Workers: what Spark, Ray and Dask run maps as map_terms() does; Spark itself runs in the docs' tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy.orm import Session

from omop_emb import EmbeddingClient, EmbeddingRole, database_engine
from omop_emb.errors import InputError
from omop_emb.mapping.mapper import map_terms
from omop_emb.mapping.records import SourceTerm
from omop_emb.service import demo
from omop_emb.service.bundle import make_bundle
from omop_emb.service.frame_batches import space_batches
from omop_emb.spaces.upsert import text_hash
from omop_emb.spark import RESULTS, map_batches
from tests.conftest import NewDatabase, as_url

_TERMS = [SourceTerm(name=term.source_term) for term in demo.terms()]


@pytest.fixture(scope="module")
def bundle(
    sample_template: str,
    server_conninfo: str,
    new_database: NewDatabase,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """A bundle, and what the database maps each term of the demo to."""
    with new_database(sample_template) as name:
        engine = database_engine(as_url(server_conninfo, dbname=name))
        path = tmp_path_factory.mktemp("shared") / "bundle"
        with Session(engine) as session:
            make_bundle(session, path)
            mapped = map_terms(session, _TERMS)
        engine.dispose()
        yield str(path), {result.term.name: result for result in mapped}


def _checked(frame: pd.DataFrame, expected: dict[str, Any]) -> None:
    for row in frame.to_dict("records"):
        result = expected[row["name"]]
        best = result.best
        assert (None if pd.isna(row["concept_id"]) else row["concept_id"]) == (best and best.concept_id), row
        assert row["decision"] == result.decision.value
        assert list(row["targets"]) == list(result.targets)
        if result.probability is not None:
            # A text's vector depends a little on those that are embedded with it.
            assert row["probability"] == pytest.approx(result.probability, abs=1e-3)
        assert pd.isna(row["error"])


def test_a_worker_maps_as_the_database_does_and_a_bad_row_costs_nothing_else(
    bundle: tuple[str, dict[str, Any]],
) -> None:
    path, expected = bundle
    names = [*expected, "", None, "half \ud800"]
    given = pd.DataFrame({"name": pd.Series(names, dtype=object), "row": range(len(names))})
    (frame,) = map_batches([given], bundle=path)
    assert frame.columns.tolist() == ["name", "row", *RESULTS]
    assert frame["row"].tolist() == list(range(len(names)))
    _checked(frame[: len(expected)], expected)
    no_name, missing, half = frame["error"][len(expected) :]
    assert no_name == missing == "it has neither a name nor a code"
    assert "half a surrogate pair" in half


def test_frames_without_terms_are_refused(bundle: tuple[str, dict[str, Any]]) -> None:
    with pytest.raises(InputError, match="a column 'name' is needed; found term"):
        list(map_batches([pd.DataFrame({"term": ["x"]})], bundle=bundle[0]))


def test_texts_get_the_hash_and_the_document_vector_of_their_template_and_a_blank_one_an_error() -> None:
    client = EmbeddingClient("local:all-MiniLM-L6-v2", document_prefix="passage: ", query_prefix="")
    frame = pd.DataFrame({"text": ["Gout", " ", "Gout"], "domain_id": ["Condition", None, None]})
    (found,) = space_batches([frame], fingerprint=client.fingerprint, template="{text}{domain_id}")
    inputs = ["GoutCondition", " ", "Gout"]
    assert found["text_hash"].tolist() == [text_hash(text) for text in inputs]
    assert found["error"].isna().tolist() == [True, False, True]
    assert found["embedding"][1] is None
    halves = np.frombuffer(found["embedding"][0] + found["embedding"][2], "<f2").reshape(2, 384)
    expected = client.embeddings(["GoutCondition", "Gout"], embedding_role=EmbeddingRole.DOCUMENT)
    assert halves.astype(np.float32) == pytest.approx(expected, abs=1e-3)


def test_dask_runs_the_same_function(bundle: tuple[str, dict[str, Any]]) -> None:
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    path, expected = bundle
    frames = [pd.DataFrame({"name": list(expected)[start::2]}) for start in range(2)]
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        futures = [client.submit(_mapped, frame, path) for frame in frames]
        for frame in client.gather(futures):
            _checked(frame, expected)


def _mapped(frame: pd.DataFrame, bundle: str) -> pd.DataFrame:
    from omop_emb.spark import map_batches

    return next(map_batches([frame], bundle=bundle))
