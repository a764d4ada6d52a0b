"""Database URL: read as PostgreSQL's own library reads it; no part of a password is shown."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import sqlalchemy
from psycopg.conninfo import conninfo_to_dict

from omop_emb import config
from omop_emb.errors import ConfigurationError

VARIABLE = "OMOP_EMB_DATABASE_URL"
_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_EXAMPLE = "postgresql://user:password@host:5432/database"
_ENCODE = (
    "percent-encode all characters except letters and digits in user and password (@ as %40, / as %2F, % "
    "as %25, a space as %20)"
)
_DEFAULTS = {"application_name": "omop-emb", "connect_timeout": "10", "client_encoding": "utf8"}


def url_name() -> str:
    """What errors call the database's URL: the variable, where that is what the user has set."""
    return VARIABLE if config.variable(VARIABLE) is not None else "the database URL"


def connection_parameters(url: str) -> dict[str, Any]:
    """What psycopg.connect() takes, from a URL of one or several hosts, with this program's defaults.

    Raises:
        ConfigurationError: the URL cannot be read, has unknown options, or names another database or driver.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        raise ConfigurationError(f"{url_name()} cannot be read: write it as {_EXAMPLE}")
    if scheme.lower() not in _SCHEMES:
        raise ConfigurationError(
            f"omop-emb works with PostgreSQL through psycopg 3, not with {scheme!r}: write {url_name()} as "
            f"{_EXAMPLE}"
        )
    try:
        parameters = conninfo_to_dict(f"postgresql://{rest}")
    except psycopg.Error as error:
        # Not chained: the driver's error quotes what it could not read.
        raise ConfigurationError(f"{url_name()} cannot be read: {_problem(rest, str(error))}") from None
    _check_parts(rest, parameters)
    return {**_DEFAULTS, **parameters, "prepare_threshold": None}


def shown_url(parameters: dict[str, Any]) -> sqlalchemy.URL:
    """The URL that an engine shows; what it connects with are the parameters."""
    host, port = str(parameters.get("host", "")), str(parameters.get("port", ""))
    is_socket, is_list = host.startswith("/"), "," in host
    return sqlalchemy.URL.create(
        "postgresql+psycopg",
        username=parameters.get("user"),
        password=parameters.get("password"),
        host=None if is_socket or is_list else host or None,
        port=int(port) if port and not is_socket and not is_list else None,
        database=parameters.get("dbname"),
        query={"host": host, **({"port": port} if port else {})} if is_socket and not is_list else {},
    )


def _check_parts(rest: str, parameters: dict[str, Any]) -> None:
    """Refuse the rest of a password that holds an unencoded @ or /."""
    host, port = str(parameters.get("host", "")), str(parameters.get("port", ""))
    ports = [one for one in port.split(",") if one]
    # As libpq divides it: user and password end at the first @ or /.
    divided = re.match(r"(?:[^@/]*@)?([^/?]*/?[^?]*)", rest)
    if divided is not None and "@" in divided[1]:
        raise ConfigurationError(f"{url_name()} has more than one @: {_ENCODE}")
    if not all(one.isdecimal() and one.isascii() and 0 < int(one[:6]) < 65536 for one in ports):
        raise ConfigurationError(f"{url_name()} has no port from 1 to 65535: write it as {_EXAMPLE}")
    if not re.fullmatch(r"-?[0-9]{1,9}", str(parameters.get("connect_timeout", "0"))):
        raise ConfigurationError(f"{url_name()} has a connect_timeout that is not a number of seconds")
    if len(port.split(",")) > 1 and port.count(",") != host.count(","):
        raise ConfigurationError(
            f"{url_name()} has a different number of hosts and ports: give one port for each host"
        )


def _problem(rest: str, message: str) -> str:
    before, _, options = rest.partition("?")
    # With an @ after the question mark, the "option" is a part of the password.
    unknown = re.match(r'invalid URI query parameter: "(\w+)"', message)
    if unknown is not None and "@" not in options and "password" not in options:
        return f"PostgreSQL has no option {unknown[1]!r}; examples of options are sslmode and connect_timeout"
    if "query parameter" in message and "@" not in options:
        return "after the ?, write name=value, with & between them"
    return _ENCODE if "%" in before or " " in rest or "@" in options else f"write it as {_EXAMPLE}"
