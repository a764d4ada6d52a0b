"""Session settings: what the statements here rely on, whatever a role, a database or a caller has set."""

from __future__ import annotations

from typing import Any

import psycopg

# Setting -> (what its value begins with, the value that is set otherwise). libpq knows the current values
# without asking the server. DateStyle: psycopg reads times in ISO alone. standard_conforming_strings: a
# backslash in a pattern is a backslash.
_EXPECTED = {
    "client_encoding": ("UTF8", "UTF8"),
    "DateStyle": ("ISO", "ISO"),
    "standard_conforming_strings": ("on", "on"),
}


def correct_settings(connection: psycopg.Connection[Any], *, for_session: bool = False) -> None:
    """Set what differs, until the transaction ends; or for the session, then the transaction is committed."""
    different = {
        name: value
        for name, (start, value) in _EXPECTED.items()
        if not (connection.pgconn.parameter_status(name.encode()) or b"").decode().startswith(start)
    }
    if not different:
        return
    is_local = not (for_session or connection.autocommit)
    for name, value in different.items():
        connection.execute("select set_config(%s, %s, %s)", (name, value, is_local))
    if for_session and not connection.autocommit:
        connection.commit()
