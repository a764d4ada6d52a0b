"""source_to_concept_map in a database: a CDM's table, or omop-emb's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import psycopg
from psycopg import errors
from psycopg.sql import SQL, Identifier

from omop_emb.database.migrations import migrate
from omop_emb.database.transactions import atomic
from omop_emb.errors import DatabaseError
from omop_emb.mapping.files.source_to_concept_map import COLUMNS, MapRow

OWN_SCHEMA = "omop_emb"
_TABLE = "source_to_concept_map"
_CREATE_STAGE = SQL(
    "create temporary table pg_temp.omop_emb_map_rows on commit drop as table {} with no data"
)
_DELETE_REPLACED = SQL(
    "delete from {} existing using"
    " (select distinct source_vocabulary_id, source_code from pg_temp.omop_emb_map_rows) staged"
    " where existing.source_vocabulary_id = staged.source_vocabulary_id"
    " and existing.source_code = staged.source_code"
)
_INSERT = SQL("insert into {} ({}) select {} from pg_temp.omop_emb_map_rows")


class MapTableCounts(NamedTuple):
    """Rows inserted into the table, and earlier rows of the same codes that they replaced."""

    inserted: int
    replaced: int


def write_map_rows(
    connection: psycopg.Connection[Any], rows: Iterable[MapRow], *, schema: str = OWN_SCHEMA
) -> MapTableCounts:
    """Insert rows into source_to_concept_map, replacing earlier rows of the same vocabulary and code.

    The caller's transaction is used and never committed; after an error nothing is written. Rows are
    streamed, not held in memory.

    Args:
        connection: in the caller's transaction.
        rows: from MapRowBuilder.
        schema: of the CDM; omop-emb's own table is created if needed.

    Raises:
        DatabaseError: there is no such table, or it rejects a row (for example a source vocabulary that
            is not in the CDM's table `vocabulary`).
    """
    table = Identifier(schema, _TABLE)
    names = SQL(", ").join(Identifier(column.name) for column in COLUMNS)
    with atomic(connection):
        if schema == OWN_SCHEMA:
            migrate(connection)
        try:
            connection.execute(_CREATE_STAGE.format(table))
            copy = SQL("copy pg_temp.omop_emb_map_rows ({}) from stdin").format(names)
            with connection.cursor().copy(copy) as stream:
                for row in rows:
                    stream.write_row(tuple(row.as_dict().values()))
            replaced = connection.execute(_DELETE_REPLACED.format(table)).rowcount
            inserted = connection.execute(_INSERT.format(table, names, names)).rowcount
            connection.execute("drop table pg_temp.omop_emb_map_rows")
        except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
            raise DatabaseError(
                f"there is no table {schema}.{_TABLE}: name the schema of a CDM, or leave it out for "
                f"{OWN_SCHEMA}.{_TABLE}"
            ) from error
        except errors.UndefinedColumn as error:
            raise DatabaseError(
                f"{schema}.{_TABLE} is not the table of a CDM 5: {_primary_message(error)}"
            ) from error
        except errors.IntegrityError as error:
            raise DatabaseError(
                f"{schema}.{_TABLE} rejects a row ({_primary_message(error)}): add the source vocabulary to "
                "the CDM's table vocabulary first"
            ) from error
    return MapTableCounts(inserted, replaced)


def _primary_message(error: psycopg.Error) -> str:
    # It names table and constraint; the detail would repeat the row's clinical text.
    return error.diag.message_primary or type(error).__name__
