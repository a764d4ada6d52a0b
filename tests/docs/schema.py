"""Writes sql/schema.sql: the schema omop_emb as all migrations, a space and a release leave it."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from omop_emb.database.migrations import migrate
from omop_emb.records import Fingerprint, IndexType
from omop_emb.server import supervisor
from omop_emb.spaces import lifecycle
from omop_emb.sql import migrations
from omop_emb.vocabulary.layout import LAYOUTS
from omop_emb.vocabulary.loader import load_vocabulary
from tests.conftest import reachable_folder

PATH = Path(__file__).parents[2] / "sql/schema.sql"
_HEADER = """\
-- The schema omop_emb as it is today, for reading. Written by `make docs` from a migrated database; a test
-- compares. To change it, add a file to migrations/. Spaces and vocabulary releases have tables of their own,
-- created with them: space_N and space_N_text (here HNSW, 768 dimensions), and concept_N to relationship_N.
"""
# The server's spelling -> ours.
_SPELLINGS = (
    (r"\b[A-Z]{2,}(?: [A-Z]+)*\b", lambda match: match[0].lower()),
    (r"'::(?:text|jsonb|integer\[\]|bigint\[\])", "'"),
    (r"= any \(array\[(.*?)\]\)", r"in (\1)"),
    ("timestamp with time zone", "timestamptz"),
    ("character varying", "varchar"),
    (" using btree", ""),
    (rf"\b((?:space|{'|'.join(layout.name for layout in LAYOUTS)})_)1(?=_|\b)", r"\1N"),
)
_CONCEPT = "1\tAsthma\tCondition\tSNOMED\tDisorder\tS\t195967001\t19700101\t20991231\t"

_TABLES = """
    select oid, relname from pg_class
    where relnamespace = 'omop_emb'::regnamespace and relkind = 'r' order by oid
"""
_COLUMNS = """
    select attname, format_type(atttypid, atttypmod), attnotnull, attidentity, pg_get_expr(adbin, adrelid)
    from pg_attribute left join pg_attrdef on (adrelid, adnum) = (attrelid, attnum)
    where attrelid = %s and attnum > 0 and not attisdropped order by attnum
"""
_CONSTRAINTS = """
    select pg_get_constraintdef(c.oid, true), case when cardinality(conkey) = 1 then attname end
    from pg_constraint c join pg_attribute on (attrelid, attnum) = (conrelid, conkey[1])
    where conrelid = %s and contype in ('p', 'u', 'c', 'f')
    order by array_position(array['p', 'u', 'c', 'f'], contype::text), conname
"""
_INDEXES = """
    select pg_get_indexdef(indexrelid, 0, true) from pg_index
    where indrelid = %s and indexrelid not in (select conindid from pg_constraint where contype in ('p', 'u'))
    order by 1
"""
_FUNCTIONS = """
    select pg_get_functiondef(oid) from pg_proc
    where pronamespace = 'omop_emb'::regnamespace
        and not exists (select from pg_depend where objid = pg_proc.oid and deptype = 'e')
    order by proname
"""


def schema_sql(connection: psycopg.Connection) -> str:
    """The content of sql/schema.sql, from a fresh database; nothing is committed."""
    migrate(connection)
    fingerprint = Fingerprint(provider="", model="m", revision="", dimensions=768)
    lifecycle.ensure_space(connection, fingerprint, IndexType.HNSW)
    with TemporaryDirectory() as folder:
        for layout in LAYOUTS:
            lines = ["\t".join(layout.columns), *([_CONCEPT] if layout.name == "concept" else [])]
            (Path(folder) / f"{layout.name}.csv").write_text("\n".join(lines))
        load_vocabulary(connection, folder)
    connection.execute("set local search_path = omop_emb, public")  # names are written without their schema
    comments = _comments()
    tables = connection.execute(_TABLES).fetchall()
    functions = connection.execute(_FUNCTIONS).fetchall()
    return "\n".join(
        [
            _HEADER,
            *(_table(connection, oid, name, comments) for oid, name in tables),
            *(f"{definition.rstrip()};\n" for (definition,) in functions),
        ]
    )


def _table(connection: psycopg.Connection, oid: int, name: str, comments: dict[tuple[str, str], str]) -> str:
    of_columns: dict[str, list[str]] = {}
    of_table: list[str] = []
    for definition, column in connection.execute(_CONSTRAINTS, (oid,)):
        if column is None:
            of_table.append(definition)
        else:
            without_column = re.sub(rf"^FOREIGN KEY \({column}\) | \({column}\)$", "", definition)
            of_columns.setdefault(column, []).append(without_column)
    lines: list[tuple[str, str]] = []
    for column, kind, not_null, identity, default in connection.execute(_COLUMNS, (oid,)):
        constraints = of_columns.get(column, [])
        words = [column, kind, *constraints]
        if default is not None:
            words.insert(2, f"default {default}")
        if identity:
            words.insert(2, "generated always as identity")
        elif not_null and "PRIMARY KEY" not in constraints:
            words.insert(2, "not null")
        lines.append((" ".join(words), comments.get((name, column), "")))
    lines += [(definition, "") for definition in of_table]
    body = [
        f"    {_spelled(line)}{',' if number < len(lines) else ''}{f'  -- {comment}' if comment else ''}"
        for number, (line, comment) in enumerate(lines, start=1)
    ]
    above = [comments[name, ""]] if comments.get((name, "")) else []
    indexes = [f"{_spelled(definition)};" for (definition,) in connection.execute(_INDEXES, (oid,))]
    return "\n".join([*above, _spelled(f"create table {name} ("), *body, ");", *indexes, ""])


def _spelled(text: str) -> str:
    for pattern, replacement in _SPELLINGS:
        text = re.sub(pattern, replacement, text)
    return text


def _comments() -> dict[tuple[str, str], str]:
    """(table, column) -> its comment in the migrations; (table, "") -> the lines above the table."""
    comments: dict[tuple[str, str], str] = {}
    for text in migrations().values():
        table, above = "", []
        for line in text.splitlines():
            if line.startswith("--"):
                above.append(line)
            elif statement := re.match(r"(create|alter) table omop_emb\.(\w+)(?: add column (\w+))?", line):
                table = statement[2]
                if statement[1] == "create":
                    comments[table, ""] = "\n".join(above)
                elif statement[3]:
                    comments[table, statement[3]] = " ".join(above).removeprefix("-- ")
                above = []
            elif column := re.match(r"\s+(?:add column )?(\w+) .*-- (.*)", line):
                comments[table, column[1]] = column[2]
    return comments


if __name__ == "__main__":
    with (
        reachable_folder(Path("/tmp")) as folder,  # noqa: S108 - mkdtemp makes a folder of our own in it
        psycopg.connect(supervisor.ensure_running(folder / "data")) as connection,
    ):
        PATH.write_text(schema_sql(connection))
        connection.rollback()
