"""index export and import: one site loads what another embedded; a file that does not match is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pytest
from pyarrow import parquet
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from omop_emb import EmbeddingInterface, IndexType, database_engine
from omop_emb.database.engine import driver_connection
from omop_emb.errors import InputError, SpaceError, SpaceMismatchError, VocabularyError
from omop_emb.indexing.build import build_index
from omop_emb.indexing.export_space import export_index
from omop_emb.indexing.import_space import import_index
from omop_emb.indexing.report import Progress
from omop_emb.indexing.space_file import KEY, SpaceMetadata, open_space_file
from omop_emb.indexing.verify import verify_index
from omop_emb.spaces import lifecycle, registry
from omop_emb.spaces.registry import Space
from tests.builds import build_with
from tests.small_vocabulary import (
    ConceptRow,
    CountingProvider,
    SmallVocabulary,
    counting_client,
    five_concepts,
    stored_vectors,
    text_vector,
)


@pytest.fixture
def vocabulary(engine: Engine, tmp_path: Path) -> SmallVocabulary:
    return five_concepts(engine, tmp_path)


@pytest.fixture
def elsewhere(empty_database_url: str) -> Iterator[Engine]:
    """Another site's database, with nothing in it."""
    made = database_engine(empty_database_url)
    yield made
    made.dispose()


@pytest.fixture
def file(engine: Engine, vocabulary: SmallVocabulary, tmp_path: Path) -> Path:
    """The exported HNSW space of five concepts."""
    build_with(engine, counting_client(), index_type=IndexType.HNSW, template="{text} ({domain_id})")
    export_index(engine, tmp_path / "space.parquet")
    return tmp_path / "space.parquet"


def load_vocabulary(engine: Engine, folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    five_concepts(engine, folder / "elsewhere")


def import_there(engine: Engine, file: Path, **options: Any) -> Space:
    options.setdefault("ask_model", False)
    return import_index(engine, file, **options)


def rows_of(engine: Engine, name: str | None = None) -> dict[tuple[int, str, str], bytes]:
    with engine.connect() as connection:
        driver = driver_connection(connection)
        space = registry.space_by_name(driver, name) if name else registry.active_space(driver)
        return stored_vectors(driver, space.space_id)


def listed(engine: Engine) -> list[Space]:
    with engine.connect() as connection:
        return registry.all_spaces(driver_connection(connection))


def rewritten(file: Path, table: Any, **said: Any) -> Path:
    """The file with other contents, or other things said of them."""
    description = json.loads(parquet.read_schema(file).metadata[KEY])
    metadata = {KEY: json.dumps({**description, **said}).encode()}
    parquet.write_table(table.replace_schema_metadata(metadata), file)
    return file


@pytest.mark.parametrize("index_type", [None, *IndexType])
def test_another_site_gets_the_same_rows_and_embeds_nothing(
    engine: Engine, elsewhere: Engine, file: Path, tmp_path: Path, index_type: IndexType | None
) -> None:
    load_vocabulary(elsewhere, tmp_path)
    space = import_there(elsewhere, file, index_type=index_type)
    assert rows_of(elsewhere) == rows_of(engine)
    (original,) = listed(engine)
    assert space.index_type is (index_type or IndexType.HNSW)
    assert space.has_index is (space.index_type is IndexType.HNSW)
    for name in ("fingerprint", "texts", "template", "synonym_languages", "vocabulary_release", "is_active"):
        assert getattr(space, name) == getattr(original, name)
    provider = CountingProvider()
    report = build_index(elsewhere, counting_client(provider), index_type=space.index_type)
    assert (provider.sent, report.unchanged, report.updated) == ([], 7, 0)
    assert [check for check in verify_index(elsewhere, client=counting_client()) if not check.ok] == []
    with Session(elsewhere) as session:
        (hit,) = EmbeddingInterface(counting_client()).get_nearest_concepts(
            session=session, query_embeddings=text_vector("HTN (Condition)", 8)[None], k=1
        )[0]
    assert (hit.concept_id, hit.matched_text, hit.domain_id, hit.concept_code) == (
        1,
        "HTN",
        "Condition",
        "C1",
    )


INDEX_SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "a denser index": {"hnsw_m": 5, "hnsw_ef_construction": 31},
    "first dimensions": {"first_pass": "4"},
    "signs": {"first_pass": "binary"},
    "no partial indexes": {"partial": "none"},
    "partial indexes": {"partial": "Condition,Drug", "first_pass": "6", "hnsw_m": 4},
}


def index_settings(space: Space) -> dict[str, Any]:
    return {
        name: getattr(space, name) for name in ("hnsw_m", "hnsw_ef_construction", "first_pass", "partial")
    }


def index_definitions(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        rows = driver_connection(connection).execute(
            "select regexp_replace(indexdef, '_[0-9]+_hnsw', '') from pg_indexes "
            "where schemaname = 'omop_emb' and indexdef like '%using hnsw%' order by 1"
        )
        return [row[0] for row in rows]


@pytest.mark.parametrize("settings", INDEX_SETTINGS)
def test_an_imported_space_has_the_index_settings_of_the_exported_one(
    engine: Engine, vocabulary: SmallVocabulary, elsewhere: Engine, tmp_path: Path, settings: str
) -> None:
    build_with(engine, counting_client(), index_type=IndexType.HNSW, **INDEX_SETTINGS[settings])
    (original,) = listed(engine)
    assert index_settings(original).items() >= INDEX_SETTINGS[settings].items()
    export_index(engine, tmp_path / "x.parquet")
    space = import_there(elsewhere, tmp_path / "x.parquet", any_release=True)
    assert index_settings(space) == index_settings(original)
    assert index_definitions(elsewhere) == index_definitions(engine)


def test_a_flat_space_made_of_an_hnsw_file_has_no_index_settings(
    engine: Engine, vocabulary: SmallVocabulary, elsewhere: Engine, tmp_path: Path
) -> None:
    build_with(engine, counting_client(), index_type=IndexType.HNSW, first_pass="4", partial="none")
    export_index(engine, tmp_path / "x.parquet")
    space = import_there(elsewhere, tmp_path / "x.parquet", any_release=True, index_type="flat")
    assert (space.index_type, space.first_pass, space.partial) == (IndexType.FLAT, "", "auto")
    assert rows_of(elsewhere) == rows_of(engine)


def test_a_file_of_format_1_is_read_and_its_indexes_are_the_default_ones(
    elsewhere: Engine, file: Path
) -> None:
    described = json.loads(parquet.read_schema(file).metadata[KEY])
    assert described.pop("version") == 2
    for name in ("hnsw_m", "hnsw_ef_construction", "first_pass", "partial"):
        del described[name]
    table = parquet.read_table(file)
    metadata = {KEY: json.dumps({**described, "version": 1}).encode()}
    parquet.write_table(table.replace_schema_metadata(metadata), file)
    space = import_there(elsewhere, file, any_release=True)
    assert index_settings(space) == {
        "hnsw_m": 16,
        "hnsw_ef_construction": 64,
        "first_pass": "",
        "partial": "auto",
    }
    assert space.template == "{text} ({domain_id})"
    assert len(rows_of(elsewhere)) == 7


def test_what_a_killed_import_of_another_file_left_does_not_shape_the_space(
    engine: Engine, elsewhere: Engine, file: Path, tmp_path: Path
) -> None:
    import_there(elsewhere, file, any_release=True)
    with elsewhere.connect() as connection:  # as a kill leaves it
        driver = driver_connection(connection)
        driver.execute(
            "truncate omop_emb.space_1, omop_emb.space_1_text;"
            "drop index omop_emb.space_1_hnsw;"
            "update omop_emb.space set is_active = false, selection = null, hnsw_m = 40, "
            "hnsw_ef_construction = 90, first_pass = 'binary', template = 'other {text}';"
            "insert into omop_emb.build (space_id, settings, lease_until) values (1, 'import', now())"
        )
        driver.commit()
    space = import_there(elsewhere, file, any_release=True)
    (original,) = listed(engine)
    assert index_settings(space) == index_settings(original)
    assert space.template == original.template
    assert index_definitions(elsewhere) == index_definitions(engine)


def test_names_that_a_site_approved_are_not_exported(
    engine: Engine, vocabulary: SmallVocabulary, tmp_path: Path, elsewhere: Engine
) -> None:
    build_index(engine, counting_client(), index_type=IndexType.FLAT)
    with engine.connect() as connection:
        driver = driver_connection(connection)
        for table in ("space_1", "space_1_text"):
            driver.execute(
                f"create temporary table copied as select * from omop_emb.{table} where concept_id = 3;"  # noqa: S608 - constants
                "update copied set text_kind = 'a', text_hash = 1;"
                f"insert into omop_emb.{table} select * from copied; drop table copied"
            )
        driver.execute("update omop_emb.space_1_text set text = 'ward 7 pill' where text_kind = 'a'")
        driver.commit()
    written = export_index(engine, tmp_path / "x.parquet")
    assert written.rows == 7
    assert "ward 7 pill" not in parquet.read_table(tmp_path / "x.parquet")["text"].to_pylist()
    import_there(elsewhere, tmp_path / "x.parquet", any_release=True)
    assert len(rows_of(elsewhere)) == 7


def test_another_release_is_refused_unless_allowed_and_then_only_the_difference_is_embedded(
    elsewhere: Engine, file: Path, tmp_path: Path
) -> None:
    with pytest.raises(VocabularyError, match="release 1, and none is loaded here: load that one"):
        import_there(elsewhere, file)
    (tmp_path / "elsewhere").mkdir()
    there = five_concepts(elsewhere, tmp_path / "elsewhere")
    there.load(ConceptRow(6, "Asthma"))
    with pytest.raises(VocabularyError, match="release 1, and release 2 is loaded here"):
        import_there(elsewhere, file)
    assert listed(elsewhere) == []
    import_there(elsewhere, file, any_release=True)
    provider = CountingProvider()
    build_index(elsewhere, counting_client(provider), index_type=IndexType.HNSW)
    assert provider.sent == ["Asthma (Condition)"]


def test_an_existing_space_is_never_overwritten(engine: Engine, file: Path) -> None:
    before = rows_of(engine)
    with pytest.raises(SpaceError, match="omop-emb index drop"):
        import_there(engine, file)
    assert rows_of(engine) == before
    import_there(engine, file, index_type=IndexType.FLAT, name="beside")
    assert rows_of(engine, "beside") == before


def test_a_file_of_another_model_is_refused(sample_database_url: str, tmp_path: Path) -> None:
    engine = database_engine(sample_database_url)
    try:
        file = tmp_path / "sample.parquet"
        export_index(engine, file, "all-MiniLM-L6-v2-hnsw")
        with engine.connect() as connection:
            driver = driver_connection(connection)
            lifecycle.drop_space(driver, registry.space_by_name(driver, "all-MiniLM-L6-v2-hnsw"))
            driver.commit()
        with open_space_file(file) as (_, description):
            other = replace(description.fingerprint, revision="another")
        changed = json.loads(replace(description, fingerprint=other).to_json())["fingerprint"]
        with pytest.raises(SpaceMismatchError, match="revision"):
            import_index(engine, rewritten(file, parquet.read_table(file), fingerprint=changed))
        assert len(listed(engine)) == 1
        same = json.loads(description.to_json())["fingerprint"]
        space = import_index(engine, rewritten(file, parquet.read_table(file), fingerprint=same))
        assert rows_of(engine, space.name) == rows_of(engine)
        assert space.recall
    finally:
        engine.dispose()


def cut_short(file: Path) -> Path:
    file.write_bytes(file.read_bytes()[:-200])
    return file


def bent(file: Path) -> Path:
    table = parquet.read_table(file)
    zeros = arrow.array([bytes(16)] * len(table), arrow.binary(16))
    return rewritten(
        file, table.set_column(len(table.column_names) - 1, table.schema.field("embedding"), zeros)
    )


def doubled(file: Path) -> Path:
    table = parquet.read_table(file)
    return rewritten(file, arrow.concat_tables([table, table]), rows=2 * len(table))


DAMAGE = {
    "cut short": (cut_short, "not a Parquet file, or is damaged"),
    "text": (lambda file: file.write_text("concept_id") and file, "not a Parquet file, or is damaged"),
    "missing": (lambda file: file.unlink() or file, "there is no file"),
    "somebody else's": (
        lambda file: parquet.write_table(arrow.table({"a": [1]}), file) or file,
        "was not written by omop-emb index export",
    ),
    "newer": (
        lambda file: rewritten(file, parquet.read_table(file), version=3, hnsw_m={"more": 1}),
        r"newer omop-emb \(format 3\): upgrade",
    ),
    "another prefix": (
        lambda file: rewritten(
            file,
            parquet.read_table(file),
            fingerprint={
                **json.loads(parquet.read_schema(file).metadata[KEY])["fingerprint"],
                "document_prefix": "x",
            },
        ),
        "its fingerprint does not match its model and prefixes",
    ),
    "rows missing": (
        lambda file: rewritten(file, parquet.read_table(file).slice(1)),
        "its columns or rows differ",
    ),
    "vectors of zeros": (bent, "not of unit length"),
    "rows twice": (doubled, "holds a text twice"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_refused_in_one_line_and_leaves_nothing(
    elsewhere: Engine, file: Path, damage: str
) -> None:
    break_it, told = DAMAGE[damage]
    with pytest.raises(InputError, match=told) as caught:
        import_there(elsewhere, break_it(file), any_release=True)
    assert "\n" not in str(caught.value)
    assert listed(elsewhere) == []


def test_an_interrupted_import_leaves_nothing_and_can_be_repeated(elsewhere: Engine, file: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.fraction is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_there(elsewhere, file, any_release=True, on_progress=stop)
    assert listed(elsewhere) == []
    import_there(elsewhere, file, any_release=True)
    assert len(rows_of(elsewhere)) == 7


def test_an_interrupted_export_leaves_the_existing_file(engine: Engine, file: Path) -> None:
    before = file.read_bytes()

    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_index(engine, file, on_progress=stop)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.glob("*.part")] == []


def test_a_space_with_an_unfinished_build_is_not_exported(engine: Engine, file: Path) -> None:
    with engine.connect() as connection:
        driver_connection(connection).execute(
            "insert into omop_emb.build (space_id, settings, lease_until) values (1, '', now())"
        )
        driver_connection(connection).commit()
    with pytest.raises(SpaceError, match="run omop-emb index build"):
        export_index(engine, file)


def test_any_parquet_reader_can_read_the_file_and_its_metadata(engine: Engine, file: Path) -> None:
    table = parquet.read_table(file)
    with open_space_file(file) as (_, description):
        assert SpaceMetadata.from_json(table.schema.metadata[KEY], file) == description
    assert (description.rows, description.vocabulary_release) == (7, "release 1")
    rows = {
        (row["concept_id"], row["text_kind"], row["text"]): np.frombuffer(row["embedding"], "<f2")
        for row in table.to_pylist()
    }
    for key, value in rows_of(engine).items():
        assert (rows[key] == np.frombuffer(value[4:], ">f2")).all()


def test_a_space_is_not_searched_during_its_import_and_a_killed_import_can_be_repeated(
    elsewhere: Engine, file: Path
) -> None:
    seen: list[str] = []

    def look(progress: Progress) -> None:
        with Session(elsewhere) as session, pytest.raises(SpaceError) as caught:
            EmbeddingInterface(counting_client()).get_nearest_concepts(
                session=session, query_embeddings=text_vector("x", 8)[None], k=1
            )
        seen.append(str(caught.value))

    import_there(elsewhere, file, any_release=True, on_progress=look)
    assert seen
    assert all("is incomplete" in line for line in seen)
    with elsewhere.connect() as connection:  # as a kill leaves it: the space is made, its rows are not there
        driver = driver_connection(connection)
        driver.execute(
            "truncate omop_emb.space_1, omop_emb.space_1_text;"
            "update omop_emb.space set is_active = false, selection = null;"
            "insert into omop_emb.build (space_id, settings, lease_until) values (1, 'import', now())"
        )
        driver.commit()
    import_there(elsewhere, file, any_release=True)
    assert len(rows_of(elsewhere)) == 7
