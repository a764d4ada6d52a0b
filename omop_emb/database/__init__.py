"""Database: the SQLAlchemy engine, sessions, migrations and COPY's binary format.

`database_engine()` connects to OMOP_EMB_DATABASE_URL or starts the embedded server; `migrate()` brings the
schema up to date. Nothing here knows spaces or vocabularies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.database.dump import dump_database as dump_database, restore_database as restore_database
    from omop_emb.database.engine import (
        database_engine as database_engine,
        database_status as database_status,
        driver_connection as driver_connection,
        engine_scope as engine_scope,
        session_scope as session_scope,
        waiting_session as waiting_session,
    )
    from omop_emb.database.migrations import migrate as migrate, migration_script as migration_script

__getattr__, __dir__ = lazy_names(__name__)
