"""Qdrant server: its address, a client for it, and its errors as ours."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from omop_emb import config
from omop_emb.errors import ConfigurationError, DatabaseError, MissingExtraError, SpaceNotFoundError

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

logger = logging.getLogger(__name__)

DEFAULT_COLLECTION = "omop_emb"
URL_VARIABLE, KEY_VARIABLE = "OMOP_EMB_SEARCH_URL", "QDRANT_API_KEY"
_PORT = 6333  # Qdrant's own for REST
_SCHEMES = {"qdrant+http": "http", "qdrant+https": "https"}
_EXAMPLE = f"qdrant+http://HOST:{_PORT} or qdrant+https://HOST:{_PORT}/COLLECTION"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_TIMEOUT_SECONDS = 60
_MAX_REASON = 200  # characters of a server's message


@dataclass(frozen=True)
class QdrantAddress:
    """Where a Qdrant server is, and by which name readers ask it."""

    url: str  # http://HOST:PORT
    host: str
    collection: str  # an alias, which each publication switches to a new collection

    @classmethod
    def parse(cls, url: str, name: str = "the URL") -> QdrantAddress:
        """The address that a URL writes.

        Raises:
            ConfigurationError: it is no such URL; `name` says whose it is. A password is never shown.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or _PORT
        except ValueError:
            raise ConfigurationError(f"{name} cannot be read: write it as {_EXAMPLE}") from None
        if parts.username is not None or parts.password is not None:
            raise ConfigurationError(f"{name} has a user or password: put the key into {KEY_VARIABLE}")
        scheme, collection = _SCHEMES.get(parts.scheme), parts.path.strip("/") or DEFAULT_COLLECTION
        if scheme is None or not parts.hostname or parts.query or parts.fragment:
            raise ConfigurationError(f"{name} must be {_EXAMPLE}")
        if not _NAME.fullmatch(collection):
            raise ConfigurationError(
                f"the collection in {name} may have letters, digits, '_', '-' and '.', at most 100; "
                f"write {name} as {_EXAMPLE}"
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(f"{scheme}://{host}:{port}", parts.hostname, collection)

    @property
    def is_this_machine(self) -> bool:
        """Whether nothing that is sent there leaves the machine."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_encrypted(self) -> bool:
        """Whether what is sent is encrypted."""
        return self.url.startswith("https:")


def open_client(address: QdrantAddress) -> QdrantClient:
    """A client for a server, which connects at its first request; with the key of QDRANT_API_KEY.

    Raises:
        MissingExtraError: qdrant-client is not installed.
    """
    try:
        from qdrant_client import QdrantClient
    except ImportError:
        raise MissingExtraError("Qdrant", "qdrant") from None
    key = config.variable(KEY_VARIABLE)
    if key and not address.is_encrypted and not address.is_this_machine:
        logger.warning("%s is sent unencrypted to %s: use qdrant+https", KEY_VARIABLE, address.host)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says the same of this machine too
        return QdrantClient(
            url=address.url,
            api_key=key,
            timeout=_TIMEOUT_SECONDS,
            check_compatibility=False,  # asks at once, and in a thread of its own
            trust_env=not address.is_this_machine,  # a proxy is elsewhere
        )


@contextmanager
def qdrant_errors(address: QdrantAddress) -> Iterator[None]:
    """A block within which Qdrant's errors are ours, in one line.

    Raises:
        SpaceNotFoundError: there is no such collection.
        ConfigurationError: the key is missing or wrong.
        DatabaseError: the server cannot be reached, or refuses for another reason.
    """
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    where = f"Qdrant at {address.url}"
    try:
        yield
    except ResponseHandlingException as error:
        kind = type(error.source).__name__
        if isinstance(error.source, ValueError):  # of JSON or pydantic
            raise DatabaseError(f"{where} does not answer as Qdrant does ({kind}): check the URL") from None
        raise DatabaseError(f"{where} cannot be reached ({kind}): check that it runs, and the URL") from None
    except ResourceExhaustedResponse as error:
        raise DatabaseError(f"{where} gets too many requests: try again in {error.retry_after_s} s") from None
    except UnexpectedResponse as error:
        if error.status_code == 404:
            raise SpaceNotFoundError(
                f"{where} has no collection {address.collection!r}: run omop-emb index publish NAME URL"
            ) from None
        if error.status_code in (401, 403):
            raise ConfigurationError(f"{where} refuses the key: set {KEY_VARIABLE}") from None
        raise DatabaseError(f"{where} refused the request: {_reason(error)}") from None


def _reason(error: object) -> str:
    """What the server says of an error, short."""
    from qdrant_client.http.exceptions import UnexpectedResponse

    assert isinstance(error, UnexpectedResponse)  # noqa: S101 - of the caller's except clause
    try:
        said = str(error.structured()["status"]["error"])
    except (ValueError, LookupError, TypeError):
        said = ""
    return f"status {error.status_code}" + (f", {said[:_MAX_REASON]}" if said else "")
