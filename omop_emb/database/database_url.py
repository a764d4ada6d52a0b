"""Database URL: read so that no part of its password is taken for something else, and shown."""

from __future__ import annotations

import re

import sqlalchemy
from sqlalchemy.engine import make_url

from omop_emb.errors import ConfigurationError

_DRIVERS = ("postgresql", "postgres", "postgresql+psycopg")
_EXAMPLE = "postgresql://user:password@host:5432/database"
_HOW_TO_WRITE_IT = (
    f"write it as {_EXAMPLE}, with other signs than letters and digits in user and password percent-encoded "
    "(@ as %40, / as %2F, % as %25)"
)


def parse_database_url(url: str) -> sqlalchemy.URL:
    """A PostgreSQL URL for psycopg 3; a password among its options is put where it is never shown.

    Raises:
        ConfigurationError: it cannot be read, or names another database or driver. The message repeats
            nothing of it, nor chains an error that does.
    """
    try:
        parsed, bare = make_url(url.strip()), make_url(url.strip().replace("%40", ""))
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ConfigurationError(f"the database URL cannot be read: {_HOW_TO_WRITE_IT}") from None
    if _splits_user_info(url, bare):
        raise ConfigurationError(f"user or password in the database URL cannot be read: {_HOW_TO_WRITE_IT}")
    if parsed.drivername not in _DRIVERS:
        raise ConfigurationError(
            f"omop-emb works with PostgreSQL through psycopg 3, not with {parsed.drivername!r}: "
            f"write the database URL as {_EXAMPLE}"
        )
    password = parsed.query.get("password")
    if isinstance(password, str):
        parsed = parsed.difference_update_query(["password"]).set(password=password)
    return parsed.set(drivername="postgresql+psycopg")


def _splits_user_info(url: str, bare: sqlalchemy.URL) -> bool:
    """Whether a sign that is not percent-encoded makes a part of the password look like something else.

    `bare` is the URL without any encoded @, so that each @ in it stands in the URL itself.
    """
    rest = url.strip().partition("://")[2]
    before_options, _, options = rest.partition("?")
    has_options = bool(options) and "?" not in (bare.password or "")
    return (
        before_options.count("@") > 1
        or ("@" in before_options and bare.username is None)
        or "@" in f"{bare.username} {bare.host} {bare.database}"
        or (has_options and not all(re.match(r"\w+=", option) for option in options.split("&")))
    )
