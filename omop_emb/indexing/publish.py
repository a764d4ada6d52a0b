"""Publication: a space copied into a Qdrant collection, which readers see when it is complete."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from omop_emb.embeddings.models import find_model
from omop_emb.errors import ConfigurationError, checked_keywords
from omop_emb.indexing import published_collection
from omop_emb.indexing.connections import Connection, open_connection
from omop_emb.indexing.export_space import space_batches, space_metadata
from omop_emb.indexing.published_collection import UnusedCollection
from omop_emb.indexing.report import ProgressCallback
from omop_emb.records import Fingerprint, counted
from omop_emb.search.qdrant import published_space
from omop_emb.search.qdrant.published_space import PublishedSpace
from omop_emb.search.qdrant.qdrant_server import QdrantAddress, open_client, qdrant_errors
from omop_emb.spaces import registry
from omop_emb.spaces.registry import Space

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

DEFAULT_SMALL = 768


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What publish_index() did.

    Attributes:
        collection: the new collection.
        alias: the name by which readers ask for it.
        rows: how many texts it holds.
        small: how many numbers its small vectors have; None where there are none.
        replaced: the collection that readers asked until then; None for the first.
        unused: collections of earlier publications that are left.
        deleted: names of those that were deleted.
    """

    collection: str
    alias: str
    rows: int
    small: int | None
    replaced: str | None
    unused: tuple[UnusedCollection, ...]
    deleted: tuple[str, ...]


@checked_keywords
def publish_index(
    engine: Engine,
    name: str,
    url: str,
    *,
    small: int | None = None,
    approve_deletion: Callable[[Sequence[UnusedCollection]], bool] | None = None,
    on_message: Callable[[str], None] | None = None,
    on_progress: ProgressCallback | None = None,
) -> Publication:
    """Copy one state of a space into a new Qdrant collection, and switch readers to it when it is complete.

    Readers ask an alias: it names the earlier collection until every row of the new one is written, counted
    and indexed. Interrupted, it still does; another run starts anew with a collection of its own. Names that
    a site approved are left out: they belong to the site, and may be clinical text.

    Args:
        engine: the database.
        name: of the space.
        url: qdrant+http://HOST:PORT or qdrant+https://HOST:PORT, with /COLLECTION for an alias other than
            omop_emb. The key is that of QDRANT_API_KEY.
        small: how many of the first numbers are searched before the whole vectors, at least 1 and fewer than
            the space's dimensions; for models that were trained for that only. None is 768 where the model
            was and has more.
        approve_deletion: called at the end with the collections of earlier publications that no alias names;
            they are deleted if it returns True. None deletes nothing.
        on_message: called with lines for a person, the first of which says what is sent where, before it is.
        on_progress: called with the progress.

    Raises:
        SpaceNotFoundError: there is no such space.
        SpaceError: it is being built, or the copy is incomplete.
        ConfigurationError: the URL, the key or `small` cannot be used.
        MissingExtraError: qdrant-client is not installed.
        DatabaseError: the server cannot be reached, or refuses.
    """
    address = QdrantAddress.parse(url)
    tell = on_message or (lambda _: None)
    report = on_progress or (lambda _: None)
    client = open_client(address)
    with qdrant_errors(address):
        with open_connection(engine) as connection:
            connection.execute("set transaction isolation level repeatable read, read only")
            space = registry.space_by_name(connection, name)
            published = _published_space(connection, space, small)
            replaced = _replaced(client, address)
            tell(_sent(published, address))
            collection = f"{address.collection}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
            with _telling_what_is_left(collection, tell):
                published_collection.create_collection(client, collection, published)
                rows = space_batches(connection, space)
                published_collection.copy_rows(client, collection, published, rows, report)
        # No transaction is open while the server builds its index, or a person is asked.
        with _telling_what_is_left(collection, tell):
            published_collection.check_and_finish(client, collection, published, report)
        published_collection.switch_alias(client, address.collection, collection, replaced)
        unused = published_collection.unused_collections(client, address.collection)
        deleted: tuple[str, ...] = ()
        if unused and approve_deletion is not None and approve_deletion(unused):
            for one in unused:
                client.delete_collection(one.name)
            deleted, unused = tuple(one.name for one in unused), ()
    return Publication(
        collection=collection,
        alias=address.collection,
        rows=published.rows,
        small=published.small,
        replaced=replaced,
        unused=unused,
        deleted=deleted,
    )


@contextmanager
def _telling_what_is_left(collection: str, tell: Callable[[str], None]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        tell(
            f"the collection {collection!r} was not completed, and no reader sees it. Run "
            "the command again: it starts anew, and with --delete-earlier deletes what is left"
        )
        raise


def _published_space(connection: Connection, space: Space, small: int | None) -> PublishedSpace:
    metadata = space_metadata(connection, space)
    return PublishedSpace(
        fingerprint=space.fingerprint,
        space=space.name,
        vocabulary_release=space.vocabulary_release,
        texts=space.texts,
        template=space.template,
        rows=metadata.rows,
        small=_small(space.fingerprint, small),
        published=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _small(fingerprint: Fingerprint, requested: int | None) -> int | None:
    """How many numbers small vectors have; None for none."""
    model = f"{fingerprint.provider}:{fingerprint.model}"
    known = find_model(model)
    is_matryoshka = known is not None and bool(known.matryoshka)
    if requested is None:
        return DEFAULT_SMALL if is_matryoshka and fingerprint.dimensions > DEFAULT_SMALL else None
    if not is_matryoshka:
        raise ConfigurationError(
            f"small must be left out for {model}: it is not known to be trained so that the first numbers of "
            "a vector stand for the whole"
        )
    if not 0 < requested < fingerprint.dimensions:
        raise ConfigurationError(
            f"small must be from 1 to {fingerprint.dimensions - 1:,}, fewer than the vectors have; "
            f"found {requested:,}"
        )
    return requested


def _sent(published: PublishedSpace, address: QdrantAddress) -> str:
    """What is sent, and whether it leaves the machine."""
    where = "on this machine" if address.is_this_machine else "which is not this machine"
    unencrypted = "" if address.is_encrypted or address.is_this_machine else ", unencrypted"
    return (
        f"{counted(published.rows, 'text')} of space {published.space!r} are sent to {address.url}, {where}"
        f"{unencrypted}: vectors of {published.fingerprint.dimensions:,} numbers, concept ids, names, "
        "synonyms, codes, domains, vocabularies and classes; no approved names"
    )


def _replaced(client: QdrantClient, address: QdrantAddress) -> str | None:
    """The collection that the alias names now."""
    alias = address.collection
    for entry in client.get_aliases().aliases:
        if entry.alias_name == alias:
            published_space.read_published(client, entry.collection_name)  # raises for another's
            return entry.collection_name
    if alias in (entry.name for entry in client.get_collections().collections):
        raise ConfigurationError(
            f"{alias!r} is a collection itself, so it cannot become the name of the published one: put "
            "another name into the URL"
        )
    return None
