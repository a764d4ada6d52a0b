"""Site training: a site's own ranker, learned from its approvals and cross-validated."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg

import omop_emb
from omop_emb.database.engine import driver_connection, is_in_transaction, readable_errors
from omop_emb.database.migrations import migrate
from omop_emb.mapping.approvals.approval_store import Approval, remember_approvals
from omop_emb.mapping.approvals.reviewed_table import ApprovedColumns
from omop_emb.mapping.approvals.sites import unknown_site_note
from omop_emb.mapping.evaluation.gold import GoldFile, GoldTerm, read_gold, resolve_targets, translated
from omop_emb.mapping.judge.translation_job import TranslationJob
from omop_emb.mapping.mapper import DEFAULT_SITE, open_mapper
from omop_emb.mapping.ranking import ranker_store, stored_rankers, trees
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.ranking.linear import default_ranker
from omop_emb.mapping.ranking.ranker_spaces import as_trained, find_further_spaces
from omop_emb.mapping.records import Provenance
from omop_emb.mapping.resources import embed_approved_names
from omop_emb.mapping.training.cross_validation import (
    CrossValidation,
)
from omop_emb.mapping.training.learned_ranker import OnMessage, learn_ranker
from omop_emb.mapping.training.site_examples import build_examples, sample_terms
from omop_emb.records import counted
from omop_emb.spaces import registry

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

_MIN_FOUND_SHARE = 0.8  # of the targets; a smaller share is worth a note


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a site's ranker is trained on, and how the files are read.

    Attributes:
        site: the site whose ranker it will be.
        remember: whether approved names are added to the site's memory.
        name: the ranker's; None is the site's with a number.
        columns: how the files are read.
        translate: a generative model that translates the terms first; None asks none.
        also_spaces: names of spaces that it learns with too; None: those that the site's present ranker
            learned with.
        rounds: number of trees; None means trees.DEFAULT_ROUNDS.
    """

    site: str = DEFAULT_SITE
    remember: bool = True
    name: str | None = None
    columns: ApprovedColumns = field(default_factory=ApprovedColumns)
    translate: TranslationJob | None = None
    also_spaces: Sequence[str] | None = ()
    rounds: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrainedRanker:
    """A ranker that was trained and stored."""

    name: str
    # whether the site's own trees order candidates; if not, the shipped ranker does, calibrated for the site
    uses_own_trees: bool
    terms: int  # that it learned from, with a match
    no_match: int  # that it learned from, without a match
    remembered: int  # number of approved names that are new in the memory
    cross_validations: Sequence[CrossValidation]  # of the shipped ranker and of the site's own
    problems: Sequence[str]  # a line for each row that could not be used
    notes: Sequence[str]  # what the user should know


def train(
    session: Session | Connection,
    paths: Iterable[str | Path],
    training: Training | None = None,
    *,
    on_message: OnMessage = lambda _: None,
    confirm: Callable[[str], bool] = lambda _question: True,
) -> TrainedRanker:
    """Train, cross-validate and store a site's ranker for the active space; the caller commits.

    A session that is in no transaction is in none while it trains. `confirm` is asked before terms are
    translated, with the expected cost; False ends it with an InputError.

    Raises:
        InputError: a file cannot be read, or there are too few approvals.
        MissingExtraError: LightGBM is not installed.
    """
    training = training or Training()
    trees.load_lightgbm()
    gold = read_gold(paths, training.columns)
    gold = translated(gold, training.translate, on_message=on_message, confirm=confirm)
    return train_on(session, gold, training, on_message=on_message)


def train_on(
    session: Session | Connection,
    gold: GoldFile,
    training: Training,
    *,
    on_message: OnMessage = lambda _: None,
) -> TrainedRanker:
    """train() on approved terms that have been read already."""
    trees.load_lightgbm()
    is_own = not is_in_transaction(session)
    with readable_errors():
        if is_own:  # before what follows, in one transaction, needs them
            embed_approved_names(session, training.site, _new_names(gold.terms, training))
        connection = driver_connection(session)
        remembered = _approve(connection, training, gold.terms, on_message)
        with open_mapper(
            session,
            also_spaces=_further_names(connection, training),
            site=training.site,
            use_own_ranker=False,
        ) as mapper:
            engine, space, provenance = mapper.engine, mapper.space, mapper.provenance
            notes, trained_in = list(mapper.warnings), as_trained([space, *mapper.further_spaces])
        if is_own:
            session.rollback()  # no transaction is open while it trains; the approvals are written at the end
    for line in gold.notes:
        on_message(line)
    shipped = default_ranker()
    usable = resolve_targets(engine.lexicon, gold.terms)
    terms = sample_terms(usable)
    if len(terms) < len(usable):
        notes.append(f"{len(terms):,} of {counted(len(usable), 'term')} sampled to learn from")
    on_message(f"describing the candidates of {counted(len(terms), 'term')}")
    examples = build_examples(engine, terms, shipped)
    learned = learn_ranker(
        examples, shipped, terms, trained_in, rounds=training.rounds, on_message=on_message
    )
    with readable_errors():
        if is_own:
            connection = driver_connection(session)
            _approve(connection, training, gold.terms, lambda _: None)
        name = ranker_store.store_ranker(
            connection,
            training.site,
            learned.ranker,
            name=training.name,
            learned_terms=stored_rankers.hash_terms(gold.term.key for gold, _ in terms),
            figures={validation.ranker: validation.metrics for validation in learned.validations},
            trained_on=_origin(gold.digests, len(terms), space.name, provenance),
        )
    matched = sum(bool(rows) for _, rows in terms)
    return TrainedRanker(
        name=name,
        uses_own_trees=learned.uses_own_trees,
        terms=matched,
        no_match=len(terms) - matched,
        remembered=remembered,
        cross_validations=learned.validations,
        problems=gold.problems,
        notes=[*notes, *learned.notes, *_missing_targets(examples, matched)],
    )


def _further_names(connection: psycopg.Connection[Any], training: Training) -> Sequence[str]:
    """The further spaces to learn with."""
    if training.also_spaces is not None:
        return training.also_spaces
    space = registry.answering_space(connection)
    ranker = ranker_store.active_ranker(connection, training.site, space.fingerprint.digest)
    if ranker is None:
        return ()
    return [one.name for one in find_further_spaces(connection, space, ranker, None)]


def _new_names(terms: Iterable[GoldTerm], training: Training) -> Iterator[str]:
    return (one.term.name for one in terms if training.remember and one.term.has_name)


def _origin(files: dict[str, str], terms: int, space_name: str, provenance: Provenance) -> dict[str, Any]:
    return {
        "files": files,
        "terms": terms,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "space": space_name,
        "model": provenance.model,
        "vocabulary": provenance.vocabulary,
        "version": omop_emb.__version__,
    }


def _approve(
    connection: psycopg.Connection[Any], training: Training, terms: Iterable[GoldTerm], on_message: OnMessage
) -> int:
    """Check the ranker's name, and add the approved names to the memory; returns how many are new."""
    # What follows in this transaction computes between statements; nobody is waited for.
    connection.execute("select set_config('idle_in_transaction_session_timeout', '0', true)")
    migrate(connection)
    if training.name is not None:
        stored_rankers.check_name(connection, training.name)
    if not training.remember:
        return 0
    if site_note := unknown_site_note(connection, training.site):
        on_message(site_note)  # without, the mapper says so
    return _remember(connection, training.site, terms)


def _remember(connection: psycopg.Connection[Any], site: str, terms: Iterable[GoldTerm]) -> int:
    """Add approved names to the site's memory, file by file; returns how many are new."""
    by_source: dict[str, list[Approval]] = {}
    for gold in terms:
        by_source.setdefault(gold.source, []).extend(
            Approval(source_name=gold.term.name, concept_id=target, source_code=gold.term.code)
            for target in sorted(gold.targets)
        )
    return sum(
        remember_approvals(connection, site, approvals, source) for source, approvals in by_source.items()
    )


def _missing_targets(examples: Examples, matched: int) -> Iterator[str]:
    """A note if retrieval found few of the targets."""
    owner = np.repeat(np.arange(len(examples)), np.diff(examples.offsets))
    found = len(np.unique(owner[examples.is_target]))
    if matched and found < _MIN_FOUND_SHARE * matched:
        yield f"{1 - found / matched:.0%} of the chosen concepts are not among the candidates"
