"""Damaged files: whatever happens to a file of ours, db check, doctor and index verify notice it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy

from omop_emb.database.engine import database_engine, driver_connection, session_scope
from omop_emb.errors import OmopEmbError
from omop_emb.indexing.build import build_index
from omop_emb.indexing.verify import verify_index
from omop_emb.records import IndexType
from omop_emb.server import supervisor
from omop_emb.service.database_check import check_relations
from omop_emb.service.doctor import State, diagnose
from tests.conftest import reachable_folder
from tests.small_vocabulary import ConceptRow, CountingProvider, SmallVocabulary, counting_client

PAGE = 8192
CONCEPTS = 1500


def half_of_the_pages(file: Path) -> None:
    os.truncate(file, file.stat().st_size // PAGE // 2 * PAGE)


def without_the_last_pages(file: Path) -> None:
    """A third of the pages: a few of the last may never have been used."""
    os.truncate(file, file.stat().st_size // PAGE * 2 // 3 * PAGE)


def without_half_a_page(file: Path) -> None:
    os.truncate(file, file.stat().st_size - PAGE // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def deleted(file: Path) -> None:
    file.unlink()


def zeros(file: Path) -> None:
    """A page in the middle."""
    _overwrite(file, file.stat().st_size // PAGE // 2 * PAGE, bytes(PAGE))


def noise(file: Path) -> None:
    """Some bytes in the middle of a page: its checksum is wrong."""
    _overwrite(file, file.stat().st_size // PAGE // 2 * PAGE + 4000, bytes(range(64)))


def _overwrite(file: Path, position: int, content: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(position)
        opened.write(content)


@dataclass(frozen=True)
class Damage:
    """What happens to a relation's file; `named` is the relation that is said to be damaged."""

    relation: str
    happens: Callable[[Path], None]
    named: str = ""  # by default the same
    alone: bool = False  # whether it hides other damage


# One line for each; TOAST tables are written as the table with @toast.
DAMAGES = (
    Damage("space_1", half_of_the_pages),
    Damage("space_1_text", zeros),
    Damage("space_2", noise),
    Damage("space_2_text", without_half_a_page),
    Damage("space_2_hnsw", half_of_the_pages),
    Damage("space_1_pkey", zeros),
    Damage("space_1_text_pkey", without_the_last_pages),
    Damage("concept_1", zeros),
    Damage("concept_1_pkey", empty),
    Damage("concept_1_lower_idx", half_of_the_pages),
    Damage("concept_1_lower_idx1", zeros),
    Damage("concept_synonym_1", without_the_last_pages),
    Damage("concept_synonym_1_concept_id_idx", deleted),
    Damage("concept_relationship_1", deleted),
    Damage("vocabulary_1", zeros),
    Damage("mapping_memory", zeros),
    Damage("mapping_memory_pkey", noise),
    Damage("mapping_ranker@toast", zeros, "mapping_ranker"),
    Damage("mapping_run", empty),
    Damage("mapping_run_run_id_seq", zeros),
    Damage("mapping_result", half_of_the_pages),
    Damage("label", zeros),
    Damage("space_1", zeros),
    Damage("space_1", without_the_last_pages),
    Damage("space_1", empty),
    Damage("space_1_text", half_of_the_pages),
    Damage("space_2_hnsw", zeros),
    Damage("space_2_hnsw", noise),
    Damage("space_2_hnsw", without_the_last_pages),
    Damage("mapping_ranker@toast", noise, "mapping_ranker"),
    Damage("mapping_ranker@toast", empty, "mapping_ranker"),
    Damage("mapping_ranker@toast", deleted, "mapping_ranker"),
    Damage("mapping_memory", half_of_the_pages),
    Damage("mapping_memory", empty),
    Damage("space", zeros, alone=True),
    Damage("space", deleted, alone=True),
    Damage("vocabulary_release", zeros, alone=True),
    Damage("vocabulary_file", zeros, alone=True),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """The folder of a stopped server with a vocabulary, two spaces and approved mappings, and its files."""
    with reachable_folder(Path("/tmp")) as folder:  # noqa: S108 - a folder of our own
        engine = database_engine(data_dir=folder / "data")
        small = SmallVocabulary(engine, tmp_path_factory.mktemp("vocabulary"))
        links = (("Maps to", 1),)
        small.load(
            *(
                ConceptRow(
                    number, f"disorder number {number}", synonyms=(f"illness {number}",), relationships=links
                )
                for number in range(1, CONCEPTS + 1)
            )
        )
        for index_type in (IndexType.FLAT, IndexType.HNSW):
            client = counting_client(CountingProvider(batch_texts=1000))
            build_index(engine, client, index_type=index_type)
        with session_scope(engine) as session:
            connection = driver_connection(session)
            connection.execute(_FILL)
            files: dict[str, str] = dict(connection.execute(_FILES).fetchall())
        engine.dispose()
        supervisor.stop(folder / "data")
        yield folder / "data", files


_FILL = """
insert into omop_emb.mapping_memory (site, source_code, source_name, concept_id, approved_from)
select 'default', n::text, 'name ' || n, n, 'file.csv' from generate_series(1, 400) n;
insert into omop_emb.mapping_ranker (site, fingerprint, kind, model, calibration, figures, trained_on, name)
select 'default', 'f', 'linear', string_agg(md5(n::text), ''), '{}', '{}', '{}', 'ranker'
from generate_series(1, 3000) n;
insert into omop_emb.mapping_run (site, input, provenance) values ('default', 'in.csv', '{}');
insert into omop_emb.mapping_result
select 1, n, n::text, 'name', 1, 1, 1, 1, 'review', jsonb_build_object('n', n)
from generate_series(1, 1000) n;
"""
_FILES = """
select relname, pg_relation_filepath(oid) from pg_class where relnamespace = 'omop_emb'::regnamespace
union all
select relname || '@toast', pg_relation_filepath(reltoastrelid) from pg_class
where relnamespace = 'omop_emb'::regnamespace and reltoastrelid <> 0
"""


@pytest.fixture
def damaged(
    whole: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., sqlalchemy.Engine]]:
    """An engine for a copy of the server, some of whose files were damaged while it was stopped."""
    source, files = whole
    with reachable_folder(Path("/tmp")) as folder:  # noqa: S108 - a folder of our own
        data_dir = folder / "data"
        shutil.copytree(source, data_dir, symlinks=True, copy_function=_copy_owned)
        for path in [data_dir, *data_dir.rglob("*")]:
            status = (source / path.relative_to(data_dir)).lstat()
            os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)
        engine = database_engine(data_dir=data_dir)

        def damage(*damages: Damage) -> sqlalchemy.Engine:
            for one in damages:
                one.happens(data_dir / "postgres" / files[one.relation])
            monkeypatch.setenv("OMOP_EMB_DATA_DIR", str(data_dir))
            return engine

        yield damage
        engine.dispose()


def _copy_owned(source: str, target: str) -> str:
    return str(shutil.copy2(source, target))


def _named(engine: sqlalchemy.Engine) -> set[str]:
    return {damage.name for damage in check_relations(engine).damages}


def _verified(engine: sqlalchemy.Engine, name: str) -> bool:
    """Whether a space passes every check of `index verify` that calls no model."""
    try:
        return all(check.ok for check in verify_index(engine, name, sample=0))
    except OmopEmbError:
        return False


def test_a_whole_database_passes(damaged: Callable[..., sqlalchemy.Engine]) -> None:
    engine = damaged()
    report = check_relations(engine)
    assert (report.damages, report.not_checked) == ((), ())
    assert report.relations > 80
    assert all(finding.state is not State.WRONG for finding in diagnose() if finding.check != "model")


def _groups() -> Iterator[list[Damage]]:
    """Damages that do not hide each other, as they befall different tables."""
    waiting = [damage for damage in DAMAGES if not damage.alone]
    while waiting:
        group = {_table(damage): damage for damage in reversed(waiting)}
        yield list(group.values())
        waiting = [damage for damage in waiting if damage not in group.values()]


def _table(damage: Damage) -> str:
    return "_".join(damage.relation.partition("@")[0].split("_")[:2])


@pytest.mark.parametrize("group", list(_groups())[:3], ids=len)
def test_every_damaged_relation_is_named_with_what_to_do(
    damaged: Callable[..., sqlalchemy.Engine], group: list[Damage]
) -> None:
    engine = damaged(*group)
    report = check_relations(engine)
    expected = {f"omop_emb.{damage.named or damage.relation}" for damage in group}
    assert expected - {damage.name for damage in report.damages} == set(), "\n".join(map(str, report.damages))
    assert all(damage.problem and "omop-emb" in damage.next_step for damage in report.damages)
    assert any(finding.state is State.WRONG for finding in diagnose() if finding.check != "model")


@pytest.mark.long
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: f"{damage.relation} {damage.happens.__name__}")
def test_each_damage_alone_is_noticed(damaged: Callable[..., sqlalchemy.Engine], damage: Damage) -> None:
    engine = damaged(damage)
    assert f"omop_emb.{damage.named or damage.relation}" in _named(engine)
    assert any(finding.state is State.WRONG for finding in diagnose() if finding.check != "model")
    if damage.relation.startswith("space"):
        assert not _verified(engine, "m-hnsw" if damage.relation.startswith("space_2") else "m-flat")
