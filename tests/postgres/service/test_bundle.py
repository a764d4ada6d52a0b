"""Bundles: without a database the same answers as with it, and nothing else is believed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copytree

import pytest
import sqlalchemy
from sqlalchemy.orm import Session

from omop_emb import ConceptFilter, database_engine, find_concepts
from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.errors import InputError, SpaceMismatchError
from omop_emb.mapping.approvals.approval_store import Approval, remember_approvals
from omop_emb.mapping.mapper import map_terms
from omop_emb.mapping.ranking.linear import default_ranker
from omop_emb.mapping.ranking.policy import Policy
from omop_emb.mapping.ranking.ranker_store import store_ranker
from omop_emb.mapping.records import SourceTerm
from omop_emb.mapping.settings import Settings
from omop_emb.service import demo
from omop_emb.service.bundle import BundleManifest, check_bundle, make_bundle, open_bundle
from omop_emb.spaces import registry
from tests.conftest import NewDatabase, as_url

_NAMES = [term.source_term for term in demo.terms()]
TERMS = [
    *(SourceTerm(name=name) for name in (*_NAMES, "pt with HTN", "hypertensn", "zuckerding")),
    SourceTerm(name="the local sugar thing", code="L1"),
    SourceTerm(name="heart attack", domain="Condition", frequency=7),
    SourceTerm(name="", code="K92.2", source_vocabulary="ICD10CM"),
    SourceTerm(name="Blutzucker ü"),
]


@dataclass(frozen=True)
class Made:
    engine: sqlalchemy.Engine
    folder: Path
    manifest: BundleManifest


@pytest.fixture(scope="module")
def made(
    sample_template: str,
    server_conninfo: str,
    new_database: NewDatabase,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Made]:
    """A bundle of a site with approvals and a ranker of its own, searched with two spaces."""
    with new_database(sample_template) as name:
        engine = database_engine(as_url(server_conninfo, dbname=name))
        folder = tmp_path_factory.mktemp("shared") / "north"
        with session_scope(engine) as session:
            connection = driver_connection(session)
            approvals = [
                Approval(source_name="the local sugar thing", concept_id=201826, source_code="L1"),
                Approval(source_name="zuckerding", concept_id=3004501),
            ]
            remember_approvals(connection, "north", approvals, "a.csv")
            ranker = replace(default_ranker(), is_site_trained=True)
            fingerprint = registry.active_space(connection).fingerprint.digest
            ranker = replace(ranker, fingerprint=fingerprint, weights=ranker.weights * 1.1)
            store_ranker(connection, "north", ranker, figures={}, trained_on={"terms": 9})
        with Session(engine) as session:
            manifest = make_bundle(session, folder, site="north")
        yield Made(engine, folder, manifest)
        engine.dispose()


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(candidates=3, explain=2, policy=Policy(accept_precision=0.9)),
        Settings(concept_filter=ConceptFilter(domains=("Condition",), standard_only=True, valid_only=True)),
    ],
    ids=["plain", "explained", "filtered"],
)
def test_a_bundle_maps_exactly_as_the_database_does(made: Made, settings: Settings) -> None:
    with Session(made.engine) as session:
        expected = map_terms(session, TERMS, site="north", settings=settings)
    mapped = open_bundle(made.folder).map(TERMS, settings=settings)
    assert mapped == expected
    assert mapped[0].provenance.ranker == "north-1"


def test_the_approvals_of_the_site_count_in_a_bundle(made: Made) -> None:
    best = open_bundle(made.folder).map(["the local sugar thing"])[0].best
    assert best is not None
    assert best.concept_id == 201826
    assert made.manifest.approved_names == 2


def test_a_bundle_finds_what_the_database_finds(made: Made) -> None:
    bundle = open_bundle(made.folder)
    with Session(made.engine) as session:
        for text in ("heart attack", "HTN", "hypertensn", "zuckerding"):
            expected = find_concepts(session, text, site="north", k=7)
            assert bundle.find(text, k=7) == expected
            assert bundle.find(text, k=4, offset=3).concepts == expected.concepts[3:]


def test_a_bundle_without_approvals_holds_no_name_of_the_site(made: Made, tmp_path: Path) -> None:
    with Session(made.engine) as session:
        manifest = make_bundle(session, tmp_path / "bundle", site="north", use_memory=False)
        expected = map_terms(session, ["zuckerding"])
    assert manifest.approved_names == 0
    assert not any(b"zuckerding" in path.read_bytes() for path in (tmp_path / "bundle").iterdir())
    best = open_bundle(tmp_path / "bundle").map(["zuckerding"])[0].best
    assert expected[0].best is not None
    assert best is None or best.matched_text != "zuckerding"


def test_opening_a_bundle_writes_nothing_and_asks_no_database(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bundle"
    copytree(made.folder, folder)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert open_bundle(folder).map(["heart attack"])[0].best is not None
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def _copy(made: Made, tmp_path: Path) -> Path:
    return Path(copytree(made.folder, tmp_path / "copy"))


@pytest.mark.parametrize("name", ["vocabulary.arrays", "vocabulary.json", "space-0.arrays", "resources.json"])
def test_a_damaged_file_is_named(made: Made, tmp_path: Path, name: str) -> None:
    path = _copy(made, tmp_path) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    for open_ in (open_bundle, check_bundle):
        with pytest.raises(InputError, match=rf"{name} is damaged.*bundle make"):
            open_(path.parent)
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match=rf"{name} should have [\d,]+ bytes, found"):
        open_bundle(path.parent, verify=False)
    path.unlink()
    with pytest.raises(InputError, match=rf"{name} cannot be read: No such file"):
        open_bundle(path.parent)


def test_links_and_pipes_are_not_followed(made: Made, tmp_path: Path) -> None:
    path = _copy(made, tmp_path) / "space-0.json"
    path.unlink()
    path.symlink_to(made.folder / "space-0.json")
    with pytest.raises(InputError, match="is a link"):
        open_bundle(path.parent)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="no regular file"):
        open_bundle(path.parent)


def _change_manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_another_version_another_bundle_and_half_a_bundle_are_refused(made: Made, tmp_path: Path) -> None:
    folder = _copy(made, tmp_path)
    assert open_bundle(folder, digest=made.manifest.digest).manifest == made.manifest
    _change_manifest(folder, site="south")
    with pytest.raises(InputError, match="another bundle than the one asked for"):
        open_bundle(folder, digest=made.manifest.digest)
    for changes in ({"version": "0.0.9"}, {"code": "00"}, {"format": 2}):
        _change_manifest(folder, **changes)
        with pytest.raises(InputError, match="was made by another omop-emb"):
            open_bundle(folder)
    (folder / "manifest.json").write_text('{"format": 1')
    with pytest.raises(InputError, match=r"manifest\.json is"):
        open_bundle(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match="incomplete copy"):
        open_bundle(folder)
    with pytest.raises(InputError, match="there is no bundle"):
        open_bundle(tmp_path / "none")


def test_a_name_outside_the_bundle_is_refused(made: Made, tmp_path: Path) -> None:
    folder = _copy(made, tmp_path)
    _change_manifest(folder, files={**made.manifest.files, "../north/space-0.json": [1, "00"]})
    with pytest.raises(InputError, match="is damaged"):
        open_bundle(folder)


def test_other_settings_than_the_bundles_are_refused(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = open_bundle(made.folder)
    with pytest.raises(InputError, match="standard and valid concepts only"):
        bundle.map(["x"], settings=Settings(concept_filter=ConceptFilter()))
    monkeypatch.setenv("OMOP_EMB_QUERY_EMBEDDING_PREFIX", "query: ")
    with pytest.raises(SpaceMismatchError, match="OMOP_EMB_QUERY_EMBEDDING_PREFIX"):
        open_bundle(made.folder)


def test_a_folder_that_is_used_is_not_touched(made: Made, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used/file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with Session(made.engine) as session:
        for name in ("used", "used/file", "link"):
            with pytest.raises(InputError, match="exists already"):
                make_bundle(session, tmp_path / name)
        with pytest.raises(InputError, match="there is no folder"):
            make_bundle(session, tmp_path / "a/b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "used"]
    assert (tmp_path / "used/file").read_text() == "mine"


def test_what_a_killed_process_leaves_is_no_bundle_and_is_removed_by_the_next(
    made: Made, tmp_path: Path
) -> None:
    target = tmp_path / "bundle"
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from omop_emb.service.bundle import bundle_folder\n"
        "with bundle_folder.new_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'vocabulary.json').write_text('half')\n"
        f"    os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
    )
    subprocess.run([sys.executable, "-c", script, target], check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".bundle.")
    with pytest.raises(InputError, match="no bundle, or an incomplete copy"):
        open_bundle(left)
    with Session(made.engine) as session:
        make_bundle(session, target)
    assert list(tmp_path.iterdir()) == [target]
    assert open_bundle(target).manifest.site == "default"
