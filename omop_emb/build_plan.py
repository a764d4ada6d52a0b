"""What a build has to do: the difference between a vocabulary and a space, found inside the database.

Nothing is compared on the client: names, synonyms and hashes are worked out in SQL, so that ten million
concepts cost a build no memory. Texts that need a vector go to the space's work table in pieces; what
needs none is done at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from omop_emb import spaces, vocabulary
from omop_emb.build_presence import Builder, others_are_at_it
from omop_emb.errors import SpaceError, VocabularyError
from omop_emb.recipe import Recipe, input_expression, wanted_table
from omop_emb.spaces import Space
from omop_emb.sql import read
from omop_emb.store import mark_written
from omop_emb.tables import SCHEMA

CHUNK_TEXTS = 512  # a commit's worth, and what an interruption can cost


@dataclass(frozen=True)
class Plan:
    """What a build changes, in texts (rows of the space) unless said otherwise.

    Attributes:
        vocabulary_release: the release that is built from; None where the vocabulary does not say.
        unchanged: there already, with their vectors.
        to_embed: missing, so that a vector is needed.
        to_embed_different: how many different texts these are; each is embedded once.
        characters: of the different texts.
        new_concepts: concepts of which the space has no text yet.
        changed_concepts: concepts of which the space has some texts and lacks others.
        reused: missing, but their vector stands in this database already.
        updated: rows of concepts whose name, domain, class, code, standard flag or validity changed.
        withdrawn_concepts: concepts that leave the space.
        withdrawn: their texts.
        obsolete: texts that are no longer among those of their concept; they leave at the end.
        joined: whether other builders are at this build already; what is left to do is counted then.
    """

    vocabulary_release: str | None
    unchanged: int = 0
    to_embed: int = 0
    to_embed_different: int = 0
    characters: int = 0
    new_concepts: int = 0
    changed_concepts: int = 0
    reused: int = 0
    updated: int = 0
    withdrawn_concepts: int = 0
    withdrawn: int = 0
    obsolete: int = 0
    joined: bool = False


def work_table(space: Space) -> sql.Identifier:
    """Where the texts that wait for a vector stand while a build is under way."""
    return sql.Identifier(SCHEMA, f"space_{space.space_id}_work")


def lock_build(connection: psycopg.Connection[Any], space: Space) -> None:
    """Wait until nobody plans or finishes a build of this space; held until the transaction ends."""
    connection.execute("select pg_advisory_xact_lock(hashtext('omop_emb.build'), %s)", (space.space_id,))


def plan(
    connection: psycopg.Connection[Any],
    space: Space,
    recipe: Recipe,
    builder: Builder,
    *,
    limit: int | None = None,
    chunk_texts: int = CHUNK_TEXTS,
) -> Plan:
    """Do what needs no vector and lay out the rest as claimable pieces; or join a build that is under way.

    Everything happens in the caller's transaction. A build that nobody is at is planned anew: what it has
    written is found as unchanged.

    Raises:
        SpaceError: others are building this space with other settings.
        VocabularyError: there is no vocabulary.
        UnknownValueError: the filter names what the vocabulary does not have.
    """
    lock_build(connection, space)
    settings = recipe.settings if limit is None else f"{recipe.settings} limit {limit}"
    joined = _join(connection, space, settings) if others_are_at_it(connection, space, builder) else None
    if joined is not None:
        return joined
    discard(connection, space)
    found = _difference(connection, space, recipe, limit)
    tables = space.tables
    connection.execute(_query("build_update", rows=tables.rows, texts=tables.texts))
    for table in (tables.rows, tables.texts):
        connection.execute(_query("build_withdraw", table=table))
    if found.reused:
        for number, source in enumerate((_sibling_rows(connection, space), tables.rows)):
            connection.execute(
                _query(
                    "build_reuse",
                    rows=tables.rows,
                    texts=tables.texts,
                    source=source,
                    number=sql.Literal(number),
                )
            )
    if found.updated or found.withdrawn or found.reused:
        mark_written(connection, space)
    work = work_table(space)
    connection.execute(_query("build_lay_out", work=work, chunk_texts=sql.Literal(chunk_texts)))
    connection.execute(sql.SQL("create index on {} (chunk)").format(work))
    connection.execute(sql.SQL("analyze {}").format(work))
    connection.execute(
        "insert into omop_emb.build (space_id, settings, vocabulary_release, release_id, lease_until) "
        "values (%s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s))",
        (space.space_id, settings, found.vocabulary_release, release_id(connection), builder.lease_seconds),
    )
    connection.execute(_query("build_chunks", space=sql.Literal(space.space_id), work=work))
    return found


def preview(
    connection: psycopg.Connection[Any], space: Space, recipe: Recipe, *, limit: int | None = None
) -> Plan:
    """What plan() would find; the caller rolls back.

    Raises:
        VocabularyError, UnknownValueError: as plan().
    """
    return _difference(connection, space, recipe, limit)


def check(connection: psycopg.Connection[Any], recipe: Recipe) -> None:
    """Let a recipe pass that a build can start from.

    Raises:
        VocabularyError, UnknownValueError: as plan().
    """
    _vocabulary(connection)
    vocabulary.check_filter(connection, recipe.concept_filter)


def discard(connection: psycopg.Connection[Any], space: Space) -> None:
    """Forget the plan of a build; what it has written stays."""
    connection.execute("delete from omop_emb.build where space_id = %s", (space.space_id,))
    connection.execute(sql.SQL("drop table if exists {}").format(work_table(space)))


def _query(name: str, **parts: sql.Composable) -> sql.Composed:
    return sql.SQL(read(name)).format(**parts)


def _join(connection: psycopg.Connection[Any], space: Space, settings: str) -> Plan | None:
    row = connection.execute(
        "select b.settings, b.vocabulary_release, coalesce(sum(c.texts), 0)::bigint, "
        "coalesce(sum(c.characters), 0)::bigint "
        "from omop_emb.build b left join omop_emb.build_chunk c using (space_id) where b.space_id = %s "
        "group by b.space_id",
        (space.space_id,),
    ).fetchone()
    if row is None:
        return None
    found, release, texts, characters = row
    if found != settings:
        raise SpaceError(
            f"space {space.name!r} is being built with other settings just now: wait until that is done, "
            "or stop it and run this again"
        )
    return Plan(release, to_embed=texts, to_embed_different=texts, characters=characters, joined=True)


def _difference(connection: psycopg.Connection[Any], space: Space, recipe: Recipe, limit: int | None) -> Plan:
    """Fill the temporary tables wanted, pending, leaving and reusable, and count them."""
    check(connection, recipe)
    tables = _vocabulary(connection)
    texts = space.tables.texts
    connection.execute("drop view if exists pg_temp.to_embed")
    connection.execute(
        "drop table if exists pg_temp.wanted, pg_temp.pending, pg_temp.leaving, pg_temp.reusable"
    )
    connection.execute(
        wanted_table(recipe, concept=tables.concept, concept_synonym=tables.concept_synonym, limit=limit)
    )
    connection.execute("analyze pg_temp.wanted")
    connection.execute(read("build_labels"))
    connection.execute(_query("build_pending", texts=texts, input=input_expression(recipe.template)))
    # Of a space that holds more than the first few concepts, a build of these leaves the rest as it is.
    limited = sql.SQL(
        "true" if limit is None else "t.concept_id <= (select max(concept_id) from pg_temp.wanted)"
    )
    connection.execute(_query("build_leaving", texts=texts, concept=tables.concept, limited=limited))
    connection.execute("analyze pg_temp.pending")
    connection.execute("analyze pg_temp.leaving")
    connection.execute(_query("build_reusable", texts=texts, sibling_rows=_sibling_rows(connection, space)))
    connection.execute("analyze pg_temp.reusable")
    connection.execute(read("build_to_embed"))
    row = connection.execute(_query("build_counts", texts=texts)).fetchone()
    assert row is not None  # noqa: S101 - aggregates have one row
    return Plan(tables.version, *row)


def _sibling_rows(connection: psycopg.Connection[Any], space: Space) -> sql.Identifier:
    """The rows of the other space of the same fingerprint; the space's own where there is none."""
    for other in spaces.listed(connection):
        if other.fingerprint == space.fingerprint and other.space_id != space.space_id:
            return other.tables.rows
    return space.tables.rows


def release_id(connection: psycopg.Connection[Any]) -> int | None:
    """The number of the vocabulary release that a build would read now; None for the tables of a CDM."""
    return _vocabulary(connection).release_id


def _vocabulary(connection: psycopg.Connection[Any]) -> vocabulary.VocabularyTables:
    tables = vocabulary.tables(connection)
    if tables is None:
        raise VocabularyError("no vocabulary is loaded: run omop-emb vocabulary load PATH")
    return tables
