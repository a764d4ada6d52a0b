"""omop-emb memory: approvals are remembered, come first, stay, and can be withdrawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from omop_emb import EmbeddingClient, config, database_engine
from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.errors import InputError, UnknownValueError
from omop_emb.indexing.build import build_index
from omop_emb.mapping.mapper import map_terms, open_mapper
from omop_emb.mapping.records import MappedTerm, SourceTerm
from omop_emb.records import IndexType

Memory = Callable[..., Result]
NOTHING_SAID = "name,concept_id\nour jargon,80180\n"
HEADER = "sourceCode,sourceName,sourceFrequency,matchScore,mappingStatus,conceptId,mappingType\n"
OSTEOARTHRITIS, SINUSITIS = 80180, 4283893


@pytest.fixture
def memory(sample_database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Memory:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", sample_database_url)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        command = import_module("omop_emb.cli.memory").command
        result = CliRunner().invoke(command, list(arguments), standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return result

    return run


def approve(*lines: str) -> str:
    Path("approved.csv").write_text(HEADER + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return "approved.csv"


def mapped(name: str, site: str = "default") -> MappedTerm:
    engine = database_engine()
    with session_scope(engine) as session:
        (found,) = map_terms(session, [SourceTerm(name=name)], site=site)
    engine.dispose()
    return found


def first(name: str, site: str = "default") -> int:
    best = mapped(name, site).best
    assert best is not None
    return best.concept_id


def test_approved_concepts_rank_first_for_their_site_until_they_are_forgotten(memory: Memory) -> None:
    before = first("Sinusitis")
    assert before != OSTEOARTHRITIS
    approve(
        f"1,SINUSITIS,3,1,APPROVED,{OSTEOARTHRITIS},MAPS_TO",
        f"1,SINUSITIS,3,1,APPROVED,{SINUSITIS},MAPS_TO_VALUE",
        "2,wild guess,3,1,UNCHECKED,1,MAPS_TO",
        "3,nothing,3,1,APPROVED,0,MAPS_TO",
        "4,lost,3,1,APPROVED,999999999,MAPS_TO",
    )
    told = memory("remember", "approved.csv").stderr
    assert "2 approved mappings, 2 of them new" in told
    assert "1 target is no longer in the vocabulary" in told
    assert "0 of them new" in memory("remember", "approved.csv").stderr
    found = mapped("Sinusitis")
    assert found.best is not None
    assert (found.best.concept_id, found.best.matched_kind) == (OSTEOARTHRITIS, "alias")
    assert first("Sinusitis", site="elsewhere") == before
    listed = json.loads(memory("list", "--site", "default", "--format", "json").stdout)
    assert [(row["source_name"], row["concept_id"], row["approved_from"]) for row in listed] == [
        ("SINUSITIS", OSTEOARTHRITIS, "approved.csv"),
        ("lost", 999999999, "approved.csv"),
    ]
    assert "1 approval" in memory("forget", "--name", "SINUSITIS").stderr
    assert first("Sinusitis") == before
    assert "1 approval" in memory("forget", "--file", "elsewhere/approved.csv").stderr
    assert "no approvals" in memory("list", "--site", "default").stderr


def test_memory_survives_a_build_and_is_not_stored_in_a_space(
    memory: Memory, sample_database_url: str
) -> None:
    memory("remember", approve(f"1,zq local jargon,3,1,APPROVED,{OSTEOARTHRITIS},MAPS_TO"))
    assert first("zq local jargon") == OSTEOARTHRITIS
    engine = database_engine(sample_database_url)
    client = EmbeddingClient(config.DEFAULT_MODEL, document_prefix="", query_prefix="")
    built = build_index(engine, client, index_type=IndexType.FLAT)
    assert built.withdrawn == built.obsolete == 0
    with session_scope(engine) as session:
        connection = driver_connection(session)
        spaces = [name for (name,) in connection.execute(
            "select table_name from information_schema.tables "
            "where table_schema = 'omop_emb' and table_name like 'space\\_%%\\_text'"
        )]  # fmt: skip
        assert spaces
        for table in spaces:
            found = connection.execute(
                f"select count(*) from omop_emb.{table} where text like 'zq%'"  # noqa: S608 - a name of ours
            ).fetchone()
            assert found == (0,)
        with open_mapper(session, use_memory=False) as mapper:
            assert mapper.engine.memory is None
    engine.dispose()
    assert first("zq local jargon") == OSTEOARTHRITIS


def test_forget_requires_a_selection(memory: Memory) -> None:
    with pytest.raises(Exception, match="--name, --file or --all"):
        memory("forget")
    with pytest.raises(Exception, match="--name, --file or --all"):
        memory("forget", "--all", "--name", "x")


def test_a_file_without_approvals_leaves_nothing_of_the_others_behind(memory: Memory) -> None:
    approve(f"1,SINUSITIS,3,1,APPROVED,{OSTEOARTHRITIS},MAPS_TO")
    Path("plain.csv").write_text(NOTHING_SAID, encoding="utf-8")
    with pytest.raises(InputError, match="--all-approved"):
        memory("remember", "approved.csv", "plain.csv")
    assert json.loads(memory("list", "--format", "json").stdout) == []
    assert "1 of them new" in memory("remember", "plain.csv", "--all-approved").stderr


def test_sites_are_listed_and_an_unknown_one_is_said(memory: Memory) -> None:
    memory("remember", approve(f"1,SINUSITIS,3,1,APPROVED,{OSTEOARTHRITIS},MAPS_TO"), "--site", "north")
    told = memory("remember", "approved.csv", "--site", "nrth").stderr
    assert "'nrth' is new" in told
    assert "'north'" in told
    (north, nrth) = json.loads(memory("list", "--format", "json").stdout)
    assert (north["site"], north["approvals"], north["names"], north["files"]) == ("north", 1, 1, 1)
    assert nrth["site"] == "nrth"
    for arguments in (("list", "--site", "nort"), ("forget", "--site", "nort", "--all")):
        with pytest.raises(UnknownValueError, match="did you mean 'north'"):
            memory(*arguments)
    engine = database_engine()
    with session_scope(engine) as session:
        with open_mapper(session, site="south") as mapper:
            assert "'south' is new" in mapper.notes[0]
        with open_mapper(session, site="north") as mapper:
            assert mapper.notes == []
    engine.dispose()


def test_forgetting_what_was_never_approved_is_an_error(memory: Memory) -> None:
    memory("remember", approve(f"1,SINUSITIS,3,1,APPROVED,{OSTEOARTHRITIS},MAPS_TO"))
    for selection in (("--name", "never"), ("--file", "other.csv")):
        with pytest.raises(InputError, match="memory list"):
            memory("forget", *selection)
    assert "1 approval" in memory("forget", "--name", "sinusitis").stderr
