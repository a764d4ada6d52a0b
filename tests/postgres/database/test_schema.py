"""sql/schema.sql shows the schema that migrations, spaces and vocabulary releases make."""

from __future__ import annotations

import psycopg

from tests.docs.schema import PATH, schema_sql


def test_the_schema_file_is_up_to_date(connection: psycopg.Connection) -> None:
    assert PATH.read_text() == schema_sql(connection), "run make docs"
