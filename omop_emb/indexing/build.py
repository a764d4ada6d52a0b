"""Index builds: unchanged texts are skipped, the rest is embedded and written, interruptions are resumed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import Engine

from omop_emb.database import migrations
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import SpaceNotFoundError
from omop_emb.indexing import difference
from omop_emb.indexing.batch_jobs import cancel_unused_jobs, embed_by_jobs, has_jobs
from omop_emb.indexing.build_options import BuildOptions, RecipeChange, SpaceOptions, resolve_recipe
from omop_emb.indexing.build_plan import BuildPreview, plan_build, preview_build
from omop_emb.indexing.builders import Builder, builder_lease
from omop_emb.indexing.connections import open_connection
from omop_emb.indexing.difference import BuildPlan
from omop_emb.indexing.finish import FinishResult, finish_build, report_index_progress, vacuum
from omop_emb.indexing.pipeline import EmbeddedCounts, embed_and_write
from omop_emb.indexing.report import BuildReport, Phase, Progress, ProgressCallback
from omop_emb.indexing.shared_progress import SharedProgress
from omop_emb.indexing.shrink import check_loss
from omop_emb.records import IndexType
from omop_emb.search.vector_indexes import IndexSettings, drop_indexes_before_load
from omop_emb.spaces import lifecycle, registry
from omop_emb.spaces.registry import Space
from omop_emb.vocabulary import reader

_WAIT_SECONDS = 0.5  # before looking again for chunks that other builders hold


def build_index(
    engine: Engine,
    client: EmbeddingClient,
    *,
    index_type: IndexType | str,
    space: SpaceOptions | None = None,
    recipe: RecipeChange | None = None,
    options: BuildOptions | None = None,
    on_progress: ProgressCallback | None = None,
    approve: Callable[[BuildPreview], None] | None = None,
) -> BuildReport:
    """Bring the client's space up to the loaded vocabulary.

    It becomes active if no space is, or if the active one of this model holds another release.

    Only texts without a vector are embedded. Each chunk is committed by itself: an interrupted build resumes
    where it ended and reaches the same rows. Several builds of one space, in any number of processes and
    machines, share the work.

    Args:
        engine: the database; this function owns its transactions.
        client: the model and its prefixes, which determine the space.
        index_type: FLAT or HNSW. A model's two spaces share vectors: the second one embeds nothing again.
        space: how the space is created if it does not exist, and which HNSW indexes it has.
        recipe: what to change about the texts of a space that exists; by default nothing.
        options: how the build runs.
        on_progress: called with the progress of the build.
        approve: called with what there is to do before anything is done; ends the build by raising.

    Raises:
        ProviderError: the model fails; what was embedded is kept.
        ConfigurationError: the provider has no batch jobs, or the recipe is not valid.
        VocabularyError: no vocabulary is loaded.
        UnknownValueError: the vocabulary lacks a value of the filter.
        ShrinkError: the space would lose over a fifth of its texts; nothing was changed.
        SpaceError: the name belongs to another space, or others are building this one with other settings.
        DatabaseError: the database cannot be reached or used.
    """
    started = time.monotonic()
    chosen = IndexType.parse(index_type, "index_type")
    space, options = space or SpaceOptions(), options or BuildOptions()
    on_progress = on_progress or (lambda _: None)
    if options.batch_api:
        client.batch_jobs()  # raises before anything is created

    def preview() -> BuildPreview:
        return preview_build(
            engine, client.fingerprint, index_type=chosen, space=space, recipe=recipe, limit=options.limit
        )

    if options.dry_run:
        on_progress(Progress(Phase.PLAN))
        previewed = preview()
        would_embed = EmbeddedCounts(rows=previewed.plan.to_embed, texts=previewed.plan.distinct_texts)
        report = _report(previewed.space, previewed.plan, would_embed, FinishResult(), started)
        return replace(report, is_dry_run=True)
    with open_connection(engine) as connection:
        migrations.migrate(connection)
        connection.commit()
    if approve is not None:
        previewed = preview()
        check_loss(previewed.plan, allow_shrink=options.allow_shrink)  # before anybody agrees to a price
        approve(previewed)
    on_progress(Progress(Phase.PLAN))
    with builder_lease(_builder(engine, client, chosen, space, recipe, options)) as builder:
        plan, counts, finished = _run(builder, on_progress)
    has_dead_rows = bool(plan.updated or plan.withdrawn or plan.obsolete)
    if counts.rows or plan.reused or has_dead_rows:
        vacuum(engine, builder.space, has_dead_rows=has_dead_rows)
    with open_connection(engine) as connection:
        for built in registry.all_spaces(connection):
            if built.space_id == builder.space.space_id:
                return _report(built, plan, counts, finished, started)
    raise SpaceNotFoundError(f"space {builder.space.name!r} was dropped while it was being built")


def _builder(
    engine: Engine,
    client: EmbeddingClient,
    index_type: IndexType,
    space_options: SpaceOptions,
    change: RecipeChange | None,
    options: BuildOptions,
) -> Builder:
    """Check all settings, and create the space if it does not exist."""
    with open_connection(engine) as connection:
        space, _ = lifecycle.ensure_space(
            connection, client.fingerprint, index_type, with_index=False, **space_options.new_space
        )
        recipe = resolve_recipe(connection, space, change)
        # Checked before the commit, so that settings that are not valid leave no space behind.
        difference.check_recipe(connection, recipe)
        indexes = IndexSettings.resolve(space, space_options.first_pass, space_options.partial)
        reader.check_filter(connection, indexes.domain_filter)
        connection.commit()
    return Builder(engine, client, space, recipe, indexes, options)


def _run(builder: Builder, on_progress: ProgressCallback) -> tuple[BuildPlan, EmbeddedCounts, FinishResult]:
    """Plan, embed and finish; again if the vocabulary was replaced or another builder died meanwhile."""
    plan, counts = _plan(builder, on_progress), EmbeddedCounts()
    total = plan
    while True:
        _embed(builder, plan, counts, on_progress)
        finished = _finish(builder, on_progress)
        if finished.is_waiting:
            on_progress(Progress(Phase.WAIT))
            time.sleep(_WAIT_SECONDS)
            continue
        if builder.options.limit is None:
            cancel_unused_jobs(builder)
        if not finished.release_changed:
            return total, counts, finished
        # The space is complete for the old release; now it is brought up to the new one.
        on_progress(Progress(Phase.PLAN))
        plan = _plan(builder, on_progress)
        total = total.followed_by(plan)


def _plan(builder: Builder, on_progress: ProgressCallback) -> BuildPlan:
    with open_connection(builder.engine) as connection:
        plan = plan_build(connection, builder)
        if not plan.joined:
            drop_indexes_before_load(connection, builder.space, plan.to_embed)
        connection.commit()
    if plan.to_embed:
        skipped = plan.unchanged + plan.reused
        on_progress(Progress(Phase.EMBED, total=plan.distinct_texts, skipped=skipped))
    return plan


def _embed(builder: Builder, plan: BuildPlan, counts: EmbeddedCounts, on_progress: ProgressCallback) -> None:
    """Embed the chunks that can be claimed, and add them to `counts`."""
    started, before = time.monotonic(), replace(counts)

    shared = SharedProgress(builder, plan)

    def report(counts: EmbeddedCounts, phase: Phase = Phase.EMBED) -> None:
        done, characters = shared.done(
            counts.texts + counts.failed - before.texts - before.failed,
            counts.characters - before.characters,
        )
        on_progress(
            Progress(
                phase,
                done=done,
                total=plan.distinct_texts,
                characters=characters,
                total_characters=plan.characters,
                seconds=time.monotonic() - started,
                skipped=plan.unchanged + plan.reused,
            )
        )

    if not builder.options.batch_api:
        embed_and_write(builder, counts, report)
    if builder.options.batch_api or has_jobs(builder.engine, builder.space):
        embed_by_jobs(builder, counts, on_progress=report, on_wait=lambda counts: report(counts, Phase.JOBS))


def _finish(builder: Builder, on_progress: ProgressCallback) -> FinishResult:
    with (
        open_connection(builder.engine) as connection,
        report_index_progress(builder.engine, connection, on_progress),
    ):
        finished = finish_build(connection, builder, lambda: on_progress(Progress(Phase.FINISH)))
        connection.commit()
    return finished


def _report(
    space: Space, plan: BuildPlan, counts: EmbeddedCounts, finished: FinishResult, started: float
) -> BuildReport:
    return BuildReport(
        **vars(plan),
        space_name=space.name,
        fingerprint=space.fingerprint,
        index_type=space.index_type,
        embedded=counts.rows,
        embedded_texts=counts.texts,
        failed=counts.failed,
        seconds=time.monotonic() - started,
        index_made=finished.index_made,
        is_active=space.is_active,
        replaced_space=finished.replaced_space,
    )
