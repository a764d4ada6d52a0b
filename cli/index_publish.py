"""omop-emb index publish: a space is copied to Qdrant, for searches beyond one PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from omop_emb.records import counted

from .progress import build_progress
from .render import echo

if TYPE_CHECKING:
    from omop_emb.indexing import Publication, UnusedCollection


@click.command("publish")
@click.argument("name")
@click.argument("url")
@click.option(
    "--small",
    type=click.IntRange(min=1),
    help="First numbers of vectors to search before the whole ones.  [default: 768 if the model allows]",
)
@click.option("--delete-earlier", is_flag=True, help="Delete collections of earlier runs afterwards.")
@click.option("--yes", is_flag=True, help="With --delete-earlier: do not ask.")
def publish(name: str, url: str, small: int | None, delete_earlier: bool, yes: bool) -> None:
    """Copy the space NAME to the Qdrant server at URL, for searches with OMOP_EMB_SEARCH_URL.

    URL is qdrant+http://HOST:PORT or qdrant+https://HOST:PORT; /COLLECTION is another name than omop_emb.
    Readers see the copy when it is complete. Vectors and concept names go to that server; its key is read
    from QDRANT_API_KEY. Needs the extra qdrant.

    \b
    omop-emb index publish all-MiniLM-L6-v2-hnsw qdrant+http://localhost:6333
    omop-emb index publish gemini-2026 qdrant+https://qdrant.example.org:6333/omop --delete-earlier
    """
    from omop_emb.database import engine_scope
    from omop_emb.indexing import publish_index

    if yes and not delete_earlier:
        raise click.UsageError("--yes answers the question of --delete-earlier: add that")

    def approve(unused: Sequence[UnusedCollection]) -> bool:
        return yes or _confirm_deletion(unused)

    with build_progress() as on_progress, engine_scope() as engine:
        publication = publish_index(
            engine,
            name,
            url,
            small=small,
            approve_deletion=approve if delete_earlier else None,
            on_message=echo,
            on_progress=on_progress,
        )
    _print(publication)


def _confirm_deletion(unused: Sequence[UnusedCollection]) -> bool:
    for one in unused:
        echo(_described(one))
    return click.confirm(f"delete {counted(len(unused), 'collection')}?", err=True)


def _described(one: UnusedCollection) -> str:
    state = "complete" if one.is_complete else "incomplete: its publication was interrupted, or still runs"
    return f"not used any more: {one.name}, {counted(one.rows, 'row')}, {state}"


def _print(publication: Publication) -> None:
    small = "" if publication.small is None else f", the first {publication.small:,} numbers searched first"
    instead = "" if publication.replaced is None else f" instead of {publication.replaced}"
    echo(
        f"{publication.alias!r} is now {publication.collection}{instead}: "
        f"{counted(publication.rows, 'text')}{small}"
    )
    if publication.deleted:
        deleted = counted(len(publication.deleted), "earlier collection was", "earlier collections were")
        echo(f"{deleted} deleted")
    for one in publication.unused:
        echo(f"{_described(one)}; --delete-earlier deletes it")
