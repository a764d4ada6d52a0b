"""Build finish: obsolete rows are deleted, indexes are created, and the space is ready for readers."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from sqlalchemy import Engine

from omop_emb.database import migrations
from omop_emb.errors import DatabaseError, OmopEmbError
from omop_emb.indexing.build_plan import discard_plan
from omop_emb.indexing.builders import Builder, limit_idle_time
from omop_emb.indexing.connections import Connection, open_connection
from omop_emb.indexing.report import Phase, Progress, ProgressCallback
from omop_emb.records import IndexType
from omop_emb.search.prepare_space import prepare_for_readers, prepare_loaded_space
from omop_emb.spaces import lifecycle, registry
from omop_emb.spaces.recipe import filter_to_json
from omop_emb.spaces.registry import Space
from omop_emb.spaces.upsert import record_write
from omop_emb.sql import read
from omop_emb.vocabulary.reader import require_vocabulary

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinishResult:
    """What finish_build() did."""

    is_waiting: bool = False  # other builders still hold chunks, and nothing was done
    index_made: bool = False
    release_changed: bool = False  # another vocabulary release was loaded since the build was planned
    replaced_space: str | None = None  # that was active, and is not any more, because this one is


def finish_build(connection: Connection, builder: Builder, on_begin: Callable[[], None]) -> FinishResult:
    """Finish a build whose chunks are all written, unless another builder has finished it.

    The caller commits, and readers see all of it or nothing. `on_begin` is called before what takes time.
    """
    space = builder.space
    limit_idle_time(connection, builder)
    lifecycle.lock_build(connection, space)
    build = connection.execute(
        "select vocabulary_release, release_id, exists ("
        "    select from omop_emb.build_chunk c where c.space_id = b.space_id"
        ") from omop_emb.build b where space_id = %s",
        (space.space_id,),
    ).fetchone()
    if build is None:
        return FinishResult()
    release, release_id, has_chunks = build
    if has_chunks:
        return FinishResult(is_waiting=True)
    on_begin()
    _delete_obsolete(connection, space)
    _record_recipe(connection, builder, release, release_id)
    discard_plan(connection, space)
    index_made = prepare_for_readers(connection, space, builder.indexes)
    vocabulary = require_vocabulary(connection)
    release_changed = vocabulary.release_id != release_id
    replaced = None
    if builder.options.limit is None and not release_changed:
        replaced = lifecycle.activate_built(connection, space, vocabulary)
    return FinishResult(
        index_made=index_made,
        release_changed=release_changed,
        replaced_space=None if replaced is None else replaced.name,
    )


def finish_index(engine: Engine, name: str | None = None) -> tuple[Space, bool]:
    """Bring a space that was filled by upserts to the state in which a build leaves one.

    Its rows are counted, its indexes created and their recall measured. Repeating it does only what changed
    since; interrupted, it leaves nothing. Others read meanwhile, and writers wait.

    Returns:
        The space, and whether an index was created.

    Raises:
        SpaceNotFoundError: there is no space of that name, or none is active.
        SpaceError: it is being built.
    """
    with open_connection(engine) as connection:
        migrations.migrate(connection)
        space = (
            registry.active_space(connection) if name is None else registry.space_by_name(connection, name)
        )
        index_made = prepare_loaded_space(connection, space)
        connection.commit()
    vacuum(engine, space)
    return space, index_made


def vacuum(engine: Engine, space: Space, *, has_dead_rows: bool = False) -> None:
    """Vacuum a space's tables, so that index-only scans need not visit rows; the build does not need it.

    Args:
        engine: the database.
        space: whose tables.
        has_dead_rows: whether rows were changed or deleted. To take 1.5 % of the rows out of an HNSW index
            needs as long as building it, so its rows are left to autovacuum, which waits for 20 %.
    """
    tables = [space.tables.texts]
    if not (has_dead_rows and space.index_type is IndexType.HNSW):
        tables.append(space.tables.rows)
    try:
        with open_connection(engine, autocommit=True) as connection:
            for table in tables:
                connection.execute(sql.SQL("vacuum (skip_locked) {}").format(table))
    except (psycopg.Error, DatabaseError) as error:
        logger.debug("space %s was not vacuumed: %s", space.name, type(error).__name__)


@contextmanager
def report_index_progress(
    engine: Engine, connection: Connection, on_progress: ProgressCallback, *, seconds: float = 1.0
) -> Iterator[None]:
    """Within the block, report how far a CREATE INDEX of the connection is, as far as that can be read."""
    ended = threading.Event()
    pid = connection.info.backend_pid

    def watch() -> None:
        if ended.wait(seconds):
            return
        try:
            with open_connection(engine, autocommit=True) as watching:
                while not ended.wait(seconds):
                    row = watching.execute(read("index_progress"), {"pid": pid}).fetchone()
                    if row is not None and row[0] is not None:
                        on_progress(Progress(Phase.FINISH, fraction=row[0]))
        except (psycopg.Error, OmopEmbError) as error:
            logger.debug("the progress of the index cannot be read: %s", type(error).__name__)

    thread = threading.Thread(target=watch, name="omop-emb-index-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _delete_obsolete(connection: Connection, space: Space) -> None:
    deleted = 0
    for table in (space.tables.rows, space.tables.texts):
        statement = sql.SQL(read("build_delete_obsolete")).format(table=table, work=space.tables.work)
        deleted += connection.execute(statement).rowcount
    if deleted:
        record_write(connection, space)
    statement = sql.SQL(read("build_clear_failures")).format(texts=space.tables.texts)
    connection.execute(statement, {"space": space.space_id})


def _record_recipe(
    connection: Connection, builder: Builder, release: str | None, release_id: int | None
) -> None:
    """Record what the space was built from; a limited build has not reached a release."""
    recipe = builder.recipe
    connection.execute(
        "update omop_emb.space set texts = %(texts)s, template = %(template)s, "
        "synonym_languages = %(languages)s, selection = %(selection)s, "
        "vocabulary_release = case when %(limited)s then vocabulary_release else %(release)s end, "
        "release_id = case when %(limited)s then release_id else %(release_id)s end "
        "where space_id = %(space)s",
        {
            "texts": recipe.texts,
            "template": recipe.template,
            "languages": list(recipe.synonym_languages),
            "selection": json.dumps(filter_to_json(recipe.concept_filter)),
            "limited": builder.options.limit is not None,
            "release": release,
            "release_id": release_id,
            "space": builder.space.space_id,
        },
    )
