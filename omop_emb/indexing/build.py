"""Building a space: skip what is unchanged, embed and write the rest, go on after any interruption."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy import Engine

from omop_emb.database import migrations
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import SpaceNotFoundError
from omop_emb.indexing import build_plan, difference
from omop_emb.indexing.batch_jobs import JOB_TEXTS, POLL_SECONDS, cancel_unused_jobs, embed_by_jobs, has_jobs
from omop_emb.indexing.build_plan import CHUNK_TEXTS
from omop_emb.indexing.builders import LEASE_SECONDS, Builder
from omop_emb.indexing.difference import BuildPlan
from omop_emb.indexing.finish import FinishResult, FinishState, finish
from omop_emb.indexing.index_progress import report_index_progress
from omop_emb.indexing.pipeline import EmbeddedCounts, builder_lease, embed_and_write, open_connection
from omop_emb.indexing.preview import BuildPreview, preview_build, resolve_recipe
from omop_emb.indexing.report import BuildReport, Phase, Progress, ProgressCallback, added
from omop_emb.indexing.vacuum import vacuum
from omop_emb.indexing.vector_indexes import IndexSettings, drop_before_load
from omop_emb.records import ConceptFilter, IndexType
from omop_emb.spaces import lifecycle, registry
from omop_emb.spaces.lifecycle import SpaceSettings
from omop_emb.spaces.recipe import Recipe
from omop_emb.spaces.registry import Space
from omop_emb.vocabulary import reader

__all__ = ["BuildReport", "Phase", "Progress", "build_index"]

_WAIT_SECONDS = 0.5  # before looking again for pieces that other builders hold


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
    first_pass: str | None = None,
    partial: str | None = None,
    batch_api: bool = False,
    chunk_texts: int | None = None,
    lease_seconds: float = LEASE_SECONDS,
    poll_seconds: float = POLL_SECONDS,
    progress: ProgressCallback | None = None,
    approve: Callable[[BuildPreview], None] | None = None,
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
        dry_run: only find out what there is to do; nothing is written, and the right to read is enough.
        hnsw_m: links of a node of the HNSW index, if the space is made.
        hnsw_ef_construction: candidates while that index is made.
        first_pass: what the HNSW index is over: "none" the vectors, a number their first dimensions (of a
            Matryoshka model), "binary" the signs of their values; this and the next, if None, are as the
            space was last built, at first "none" and "auto".
        partial: domains that have an HNSW index of their own: "auto" those with many rows that are not most,
            "none", or names with commas between them.
        batch_api: hand texts in as batch jobs, and wait for their answers. Jobs that are under way already
            are collected in any case.
        chunk_texts: different texts that are claimed and committed as one; of a batch job.
        lease_seconds: how long after its last sign of life a machine's work is taken over.
        poll_seconds: between looks at batch jobs that are not finished.
        progress: is told how far the build is.
        approve: is told what there is to do before anything is done, and ends the build by raising.

    Raises:
        ProviderError: the model fails; what was embedded is kept.
        ConfigurationError: the provider has no batch jobs.
        VocabularyError: no vocabulary is loaded.
        UnknownValueError: the filter names what the vocabulary does not have.
        SpaceError: the name belongs to another space, or this one is being built with other settings.
        DatabaseError: the database cannot be reached or used.
    """
    started = time.monotonic()
    tell = progress or (lambda _: None)
    if batch_api:
        client.batch_jobs()  # refused before anything is made
    fingerprint = client.fingerprint
    asked = {
        "texts": texts,
        "template": template,
        "synonym_languages": synonym_languages,
        "concept_filter": concept_filter,
    }
    made: SpaceSettings = {
        "name": name,
        "hnsw_m": hnsw_m,
        "hnsw_ef_construction": hnsw_ef_construction,
        "first_pass": "" if first_pass in (None, "none") else first_pass,
    }
    if dry_run:
        tell(Progress(Phase.PLAN))
        found = preview_build(engine, fingerprint, index_type, asked, limit=limit, partial=partial, **made)
        return _report(
            found.space,
            found.plan,
            EmbeddedCounts(),
            FinishResult(FinishState.GONE),
            started,
            is_dry_run=True,
        )
    with open_connection(engine) as connection:
        migrations.migrate(connection)
        connection.commit()
    if approve is not None:
        approve(preview_build(engine, fingerprint, index_type, asked, limit=limit, partial=partial, **made))
    tell(Progress(Phase.PLAN))
    with open_connection(engine) as connection:
        space, _ = lifecycle.ensure_space(connection, fingerprint, index_type, with_index=False, **made)
        recipe = resolve_recipe(connection, space, asked)
        # Before the space is committed: none is left behind by a filter that cannot be used.
        difference.check_recipe(connection, recipe)
        indexes = IndexSettings.asked(space, first_pass, partial)
        reader.check_filter(connection, indexes.domains)
        connection.commit()
    with builder_lease(engine, space, lease_seconds) as builder:
        work = _Work(
            engine=engine,
            client=client,
            space=space,
            recipe=recipe,
            indexes=indexes,
            builder=builder,
            limit=limit,
            batch_api=batch_api,
            chunk_texts=chunk_texts or (JOB_TEXTS if batch_api else CHUNK_TEXTS),
            poll_seconds=poll_seconds,
            tell=tell,
        )
        total, did, finished = _build(work)
    if did.rows or total.reused or total.updated or total.withdrawn or total.obsolete:
        vacuum(engine, space)
    with open_connection(engine) as connection:
        there = [other for other in registry.all_spaces(connection) if other.space_id == space.space_id]
    if not there:
        raise SpaceNotFoundError(f"space {space.name!r} was dropped while it was being built")
    return _report(there[0], total, did, finished, started)


@dataclass(frozen=True)
class _Work:
    """What does not change during a build."""

    engine: Engine
    client: EmbeddingClient
    space: Space
    recipe: Recipe
    indexes: IndexSettings
    builder: Builder
    limit: int | None
    batch_api: bool
    chunk_texts: int
    poll_seconds: float
    tell: ProgressCallback


def _build(work: _Work) -> tuple[BuildPlan, EmbeddedCounts, FinishResult]:
    """Plan, embed and finish, again if the vocabulary was replaced or another builder died meanwhile."""
    plan, did = _plan(work), EmbeddedCounts()
    total = plan
    while True:
        _embed(work, plan, did)
        finished = _finish(work)
        if finished.outcome is FinishState.WAIT:
            work.tell(Progress(Phase.WAIT))
            time.sleep(_WAIT_SECONDS)
            continue
        if work.limit is None:
            cancel_unused_jobs(work.engine, work.client, work.space)
        if not finished.release_changed:
            return total, did, finished
        # A release was loaded meanwhile. What was built is whole; now it is brought up to that release.
        work.tell(Progress(Phase.PLAN))
        plan = _plan(work)
        total = added(total, plan)


def _plan(work: _Work) -> BuildPlan:
    """Plan or join the build, and commit that."""
    with open_connection(work.engine) as connection:
        found = build_plan.plan_build(
            connection,
            work.space,
            work.recipe,
            work.builder,
            work.indexes,
            limit=work.limit,
            chunk_texts=work.chunk_texts,
        )
        if not found.joined:
            drop_before_load(connection, work.space, found.to_embed)
        connection.commit()
    if found.to_embed:
        skipped = found.unchanged + found.reused
        work.tell(Progress(Phase.EMBED, total=found.to_embed_different, skipped=skipped))
    return found


def _embed(work: _Work, plan: BuildPlan, did: EmbeddedCounts) -> None:
    began = time.monotonic()
    before = replace(did)

    def told(now: EmbeddedCounts, phase: Phase = Phase.EMBED) -> None:
        did.rows, did.texts = before.rows + now.rows, before.texts + now.texts
        did.characters, did.failed = before.characters + now.characters, before.failed + now.failed
        work.tell(
            Progress(
                phase,
                done=now.texts + now.failed,
                total=plan.to_embed_different,
                characters=now.characters,
                total_characters=plan.characters,
                seconds=time.monotonic() - began,
                skipped=plan.unchanged + plan.reused,
            )
        )

    done = EmbeddedCounts()
    if not work.batch_api:
        done = embed_and_write(
            work.engine,
            work.client,
            work.space,
            work.builder,
            chunk_texts=work.chunk_texts,
            on_progress=told,
        )
    if work.batch_api or has_jobs(work.engine, work.space):
        embed_by_jobs(
            work.engine,
            work.client,
            work.space,
            work.builder,
            done,
            submit=work.batch_api,
            poll_seconds=work.poll_seconds,
            on_progress=told,
            on_wait=lambda now: told(now, Phase.JOBS),
        )


def _finish(work: _Work) -> FinishResult:
    with (
        open_connection(work.engine) as connection,
        report_index_progress(work.engine, connection, work.tell),
    ):
        finished = finish(
            connection,
            work.space,
            work.recipe,
            work.indexes,
            work.builder,
            is_whole=work.limit is None,
            on_begin=lambda: work.tell(Progress(Phase.FINISH)),
        )
        connection.commit()
    return finished


def _report(
    space: Space,
    plan: BuildPlan,
    did: EmbeddedCounts,
    finished: FinishResult,
    started: float,
    *,
    is_dry_run: bool = False,
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
