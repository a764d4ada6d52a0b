"""Building a space: skip what is unchanged, embed and write the rest, go on after any interruption."""

from __future__ import annotations

import time
from typing import Any

import psycopg
from sqlalchemy import Engine

from omop_emb import build_plan, migrations, spaces
from omop_emb.build_finish import Finished, Outcome, finish
from omop_emb.build_hnsw import drop_before_load
from omop_emb.build_plan import CHUNK_TEXTS, LEASE_SECONDS, Plan
from omop_emb.embeddings import EmbeddingClient
from omop_emb.errors import SpaceNotFoundError
from omop_emb.indexing_pipeline import Done, driver, embed_and_write, wait_for_others
from omop_emb.indexing_report import BuildReport, Phase, Progress, ProgressCallback, added
from omop_emb.recipe import Recipe, filter_of
from omop_emb.records import ConceptFilter, IndexType
from omop_emb.spaces import Space

__all__ = ["BuildReport", "Phase", "Progress", "build_index"]


def build_index(
    engine: Engine,
    client: EmbeddingClient,
    *,
    index_type: IndexType,
    name: str | None = None,
    texts: str | None = None,
    template: str | None = None,
    synonym_languages: tuple[int, ...] | None = None,
    concept_filter: ConceptFilter | None = None,
    limit: int | None = None,
    dry_run: bool = False,
    hnsw_m: int = 16,
    hnsw_ef_construction: int = 64,
    chunk_texts: int = CHUNK_TEXTS,
    lease_seconds: float = LEASE_SECONDS,
    progress: ProgressCallback | None = None,
) -> BuildReport:
    """Bring the client's space up to the vocabulary that is loaded, and make it active if none is.

    Only texts that have no vector yet are embedded. Each piece is committed as one: whatever ends a build,
    the next one goes on from there and ends with the same rows. Several builds of one space at a time, in
    any number of processes and machines, share the work.

    Args:
        engine: the database; this function owns its transactions.
        client: the model and its prefixes; they decide which space it is.
        index_type: FLAT or HNSW. A model's two spaces share vectors: what one has, the other takes over.
        name: of the space, if it is made; by default after the model.
        texts: which texts of a concept are embedded, see Recipe; this and the next three, if None, are as
            the space was last built, at first Recipe's default.
        template: what is made of each text; "" leaves it as it is.
        synonym_languages: OMOP's concept ids of the languages whose synonyms are taken.
        concept_filter: which concepts.
        limit: take only so many concepts, those with the lowest ids; others in the space stay as they are.
        dry_run: only find out what there is to do.
        hnsw_m: links of a node of the HNSW index, if the space is made.
        hnsw_ef_construction: candidates while that index is made.
        chunk_texts: different texts that are claimed and committed as one.
        lease_seconds: how long after its end without goodbye a builder's work is taken over.
        progress: is told how far the build is.

    Raises:
        ProviderError: the model fails; what was embedded is kept.
        VocabularyError: no vocabulary is loaded.
        UnknownValueError: the filter names what the vocabulary does not have.
        SpaceError: the name belongs to another space, or this one is being built with other settings.
        DatabaseError: the database cannot be reached or used.
    """
    started = time.monotonic()
    tell = progress or (lambda _: None)
    fingerprint = client.fingerprint
    recipe_parts = {
        "texts": texts,
        "template": template,
        "synonym_languages": synonym_languages,
        "concept_filter": concept_filter,
    }

    tell(Progress(Phase.PLAN))
    with driver(engine) as connection:
        migrations.migrate(connection)
        space, _ = spaces.ensure(
            connection,
            fingerprint,
            index_type,
            name=name,
            hnsw_m=hnsw_m,
            hnsw_ef_construction=hnsw_ef_construction,
            with_index=False,
        )
        recipe = _recipe(connection, space, recipe_parts)
        if dry_run:
            found = build_plan.preview(connection, space, recipe, limit=limit)
            connection.rollback()
            return _report(space, found, Done(), Finished(Outcome.GONE), started, is_dry_run=True)
        plan = _plan(connection, space, recipe, limit, chunk_texts, lease_seconds)

    total, did = plan, Done()
    while True:
        _embed(engine, client, space, plan, did, tell, lease_seconds)
        finished = _finish(engine, space, recipe, limit, tell)
        if finished.outcome is Outcome.WAIT:
            tell(Progress(Phase.WAIT))
            wait_for_others(started)
            continue
        if not finished.release_changed:
            break
        # A release was loaded meanwhile. What was built is whole; now it is brought up to that release.
        tell(Progress(Phase.PLAN))
        with driver(engine) as connection:
            plan = _plan(connection, space, recipe, limit, chunk_texts, lease_seconds)
        total = added(total, plan)
    with driver(engine) as connection:
        there = [other for other in spaces.listed(connection) if other.space_id == space.space_id]
    if not there:
        raise SpaceNotFoundError(f"space {space.name!r} was dropped while it was being built")
    return _report(there[0], total, did, finished, started)


def _recipe(connection: psycopg.Connection[Any], space: Space, parts: dict[str, Any]) -> Recipe:
    """What was asked for, and for the rest what the space was last built from."""
    row = connection.execute(
        "select selection from omop_emb.space where space_id = %s", (space.space_id,)
    ).fetchone()
    recorded: dict[str, Any] = {}
    if row is not None and row[0] is not None:
        recorded = {
            "texts": space.texts,
            "template": space.template,
            "synonym_languages": space.synonym_languages,
            "concept_filter": filter_of(row[0]),
        }
    return Recipe(**{**recorded, **{part: value for part, value in parts.items() if value is not None}})


def _plan(
    connection: psycopg.Connection[Any],
    space: Space,
    recipe: Recipe,
    limit: int | None,
    chunk_texts: int,
    lease_seconds: float,
) -> Plan:
    """Plan or join the build, and commit that."""
    found = build_plan.plan(
        connection, space, recipe, limit=limit, chunk_texts=chunk_texts, lease_seconds=lease_seconds
    )
    if not found.joined:
        drop_before_load(connection, space, found.to_embed)
    connection.commit()
    return found


def _embed(
    engine: Engine,
    client: EmbeddingClient,
    space: Space,
    plan: Plan,
    did: Done,
    tell: ProgressCallback,
    lease_seconds: float,
) -> None:
    if not plan.to_embed:
        return
    began = time.monotonic()
    before = Done(did.rows, did.texts, did.characters, did.failed)

    def told(now: Done) -> None:
        did.rows, did.texts = before.rows + now.rows, before.texts + now.texts
        did.characters, did.failed = before.characters + now.characters, before.failed + now.failed
        tell(
            Progress(
                Phase.EMBED,
                done=now.texts + now.failed,
                total=plan.to_embed_different,
                characters=now.characters,
                total_characters=plan.characters,
                seconds=time.monotonic() - began,
                skipped=plan.unchanged + plan.reused,
            )
        )

    tell(
        Progress(
            Phase.EMBED,
            total=plan.to_embed_different,
            total_characters=plan.characters,
            skipped=plan.unchanged + plan.reused,
        )
    )
    embed_and_write(engine, client, space, on_progress=told, lease_seconds=lease_seconds)


def _finish(
    engine: Engine, space: Space, recipe: Recipe, limit: int | None, tell: ProgressCallback
) -> Finished:
    tell(Progress(Phase.INDEX))
    with driver(engine) as connection:
        finished = finish(connection, space, recipe, is_whole=limit is None)
        connection.commit()
    return finished


def _report(
    space: Space, plan: Plan, did: Done, finished: Finished, started: float, *, is_dry_run: bool = False
) -> BuildReport:
    return BuildReport(
        space_name=space.name,
        fingerprint=space.fingerprint,
        index_type=space.index_type,
        vocabulary_release=plan.vocabulary_release,
        new_concepts=plan.new_concepts,
        changed_concepts=plan.changed_concepts,
        embedded=plan.to_embed if is_dry_run else did.rows,
        embedded_texts=plan.to_embed_different if is_dry_run else did.texts,
        characters=plan.characters,
        reused=plan.reused,
        unchanged=plan.unchanged,
        updated=plan.updated,
        withdrawn_concepts=plan.withdrawn_concepts,
        withdrawn=plan.withdrawn,
        obsolete=plan.obsolete,
        failed=did.failed,
        seconds=time.monotonic() - started,
        index_made=finished.index_made,
        is_active=space.is_active,
        is_dry_run=is_dry_run,
        shared=plan.joined,
    )
