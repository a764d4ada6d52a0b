"""source_to_concept_map in a database: a CDM's, or omop-emb's own."""

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
_STAGE = SQL("create temporary table pg_temp.omop_emb_map_rows on commit drop as table {} with no data")
_REPLACE = SQL(
    "delete from {} there using"
    " (select distinct source_vocabulary_id, source_code from pg_temp.omop_emb_map_rows) coming"
    " where there.source_vocabulary_id = coming.source_vocabulary_id"
    " and there.source_code = coming.source_code"
)
_INSERT = SQL("insert into {} ({}) select {} from pg_temp.omop_emb_map_rows")


class Written(NamedTuple):
    """Rows that were put into the table, and earlier ones of the same codes that they took the place of."""

    inserted: int
    replaced: int


def write_map_rows(
    connection: psycopg.Connection[Any], rows: Iterable[MapRow], *, schema: str = OWN_SCHEMA
) -> Written:
    """Put rows into source_to_concept_map; earlier rows of the same vocabulary and code go.

    The caller's transaction is used and never committed; after an error nothing is left of the rows. Rows
    stream: they are not held in memory.

    Args:
        connection: in the caller's transaction.
        rows: as MapRows makes them.
        schema: of the CDM; omop-emb's own table is made if need be.

    Raises:
        DatabaseError: there is no such table, or it refuses a row (a source vocabulary that the CDM's
            table `vocabulary` does not have, for example).
    """
    table = Identifier(schema, _TABLE)
    names = SQL(", ").join(Identifier(column.name) for column in COLUMNS)
    with atomic(connection):
        if schema == OWN_SCHEMA:
            migrate(connection)
        try:
            connection.execute(_STAGE.format(table))
            copy = SQL("copy pg_temp.omop_emb_map_rows ({}) from stdin").format(names)
            with connection.cursor().copy(copy) as stream:
                for row in rows:
                    stream.write_row(tuple(row.as_dict().values()))
            replaced = connection.execute(_REPLACE.format(table)).rowcount
            inserted = connection.execute(_INSERT.format(table, names, names)).rowcount
            connection.execute("drop table pg_temp.omop_emb_map_rows")
        except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
            raise DatabaseError(
                f"there is no table {schema}.{_TABLE}: name the schema of a CDM, or leave it out for "
                f"{OWN_SCHEMA}.{_TABLE}"
            ) from error
        except errors.UndefinedColumn as error:
            raise DatabaseError(f"{schema}.{_TABLE} is not the table of a CDM 5: {_said(error)}") from error
        except errors.IntegrityError as error:
            raise DatabaseError(
                f"{schema}.{_TABLE} refuses a row ({_said(error)}): a source vocabulary must be in the CDM's "
                "table vocabulary first"
            ) from error
    return Written(inserted, replaced)


def _said(error: psycopg.Error) -> str:
    # The primary line names table and constraint; the detail would repeat the row.
    return error.diag.message_primary or type(error).__name__
