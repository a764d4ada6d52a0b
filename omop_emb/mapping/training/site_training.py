"""Site training: a site's own ranker, learned from its approvals and cross-validated."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg

import omop_emb
from omop_emb.arrays import Floats
from omop_emb.database.engine import driver_connection, readable_errors
from omop_emb.database.migrations import migrate
from omop_emb.mapping.approvals.approval_store import Approval, remember_approvals
from omop_emb.mapping.approvals.reviewed_table import ApprovedColumns
from omop_emb.mapping.approvals.sites import unknown_site_note
from omop_emb.mapping.evaluation.gold import GoldTerm, ResolvedTerm, read_gold, resolve_targets
from omop_emb.mapping.judge import judge_calibration
from omop_emb.mapping.mapper import DEFAULT_SITE, open_mapper
from omop_emb.mapping.ranking import ranker_store, stored_rankers, trees
from omop_emb.mapping.ranking.calibration import Calibration
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.ranking.linear import LinearRanker, default_ranker
from omop_emb.mapping.ranking.ranker import add_approved_bonus
from omop_emb.mapping.records import Provenance
from omop_emb.mapping.training.cross_validation import (
    CrossValidation,
    Scorer,
    calibrate_out_of_sample,
    term_folds,
    validate_sources,
    validate_terms,
)
from omop_emb.mapping.training.site_examples import build_examples, sample_terms, with_shipped_scores
from omop_emb.records import counted

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

_MIN_FOUND_SHARE = 0.8  # of the targets; a smaller share is worth a note
OnMessage = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a site's ranker is trained on, and how the files are read.

    Attributes:
        site: the site whose ranker it will be.
        remember: whether approved names are added to the site's memory.
        name: the ranker's; None is the site's with a number.
        columns: how the files are read.
        rounds: number of trees; None means trees.DEFAULT_ROUNDS.
    """

    site: str = DEFAULT_SITE
    remember: bool = True
    name: str | None = None
    columns: ApprovedColumns = field(default_factory=ApprovedColumns)
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
) -> TrainedRanker:
    """Train, cross-validate and store a site's ranker for the active space; the caller commits.

    Raises:
        InputError: a file cannot be read, or there are too few approvals.
        MissingExtraError: LightGBM is not installed.
    """
    training = training or Training()
    trees.load_lightgbm()
    gold = read_gold(paths, training.columns)
    with readable_errors():
        connection = driver_connection(session)
        migrate(connection)
        if training.name is not None:
            stored_rankers.check_name(connection, training.name)
        if training.remember and (site_note := unknown_site_note(connection, training.site)):
            on_message(site_note)  # without, the mapper says so
        remembered = _remember(connection, training.site, gold.terms) if training.remember else 0
        with open_mapper(session, site=training.site, use_own_ranker=False) as mapper:
            engine, space, provenance = mapper.engine, mapper.space, mapper.provenance
            notes = list(mapper.warnings)
    for line in gold.notes:
        on_message(line)
    digest, shipped = space.fingerprint.digest, default_ranker()
    usable = resolve_targets(engine.lexicon, gold.terms)
    terms = sample_terms(usable)
    if len(terms) < len(usable):
        notes.append(f"{len(terms):,} of {counted(len(usable), 'term')} sampled to learn from")
    on_message(f"describing the candidates of {counted(len(terms), 'term')}")
    examples = build_examples(engine, terms, shipped)
    validations, scores, uses_own_trees = _cross_validate(
        examples, shipped, training.rounds, on_message, calibrated=digest == shipped.fingerprint
    )
    if not uses_own_trees:
        notes.append("your own trees order no better than the shipped ranker, which stays, calibrated here")
    calibration, note = _calibrate(examples, scores, terms)
    ranker: LinearRanker | trees.TreeRanker = replace(
        shipped, fingerprint=digest, is_site_trained=True, calibration=calibration
    )
    if uses_own_trees:
        on_message("training on all terms")
        model = trees.train_trees(examples, rounds=training.rounds)
        ranker = trees.TreeRanker("", digest, calibration, model, shipped)
    with readable_errors():
        name = ranker_store.store_ranker(
            connection,
            training.site,
            ranker,
            name=training.name,
            learned_terms=stored_rankers.hash_terms(gold.term.key for gold, _ in terms),
            figures={validation.ranker: validation.metrics for validation in validations},
            trained_on=_origin(gold.digests, len(terms), space.name, provenance),
        )
    matched = sum(bool(rows) for _, rows in terms)
    return TrainedRanker(
        name=name,
        uses_own_trees=uses_own_trees,
        terms=matched,
        no_match=len(terms) - matched,
        remembered=remembered,
        cross_validations=validations,
        problems=gold.problems,
        notes=[*notes, *note, *_missing_targets(examples, matched)],
    )


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


def _cross_validate(
    examples: Examples,
    shipped: LinearRanker,
    rounds: int | None,
    on_message: OnMessage,
    *,
    calibrated: bool,
) -> tuple[list[CrossValidation], Floats, bool]:
    """Shipped and own ranker measured, the better one's scores, and whether that is the own one.

    `calibrated` says whether the shipped ranker's probabilities are valid for the space.
    """

    def fit_trees(part: Examples) -> Scorer:
        return trees.train_trees(part, rounds=rounds).score_examples

    def fit_shipped(_: Examples) -> Scorer:
        return lambda part: add_approved_bonus(part.shipped_scores, part.features)

    plain = with_shipped_scores(examples.without_memory(), shipped)
    calibration = shipped.calibration if calibrated else None
    before, _ = validate_terms("shipped ranker", plain, fit_shipped, calibration)
    with_memory, shipped_scores = validate_terms("shipped ranker with memory", examples, fit_shipped, None)
    on_message("training: three folds by term")
    own, own_scores = validate_terms("own ranker with memory", examples, fit_trees, None)
    validations = [before, with_memory, own]
    if len(np.unique(examples.sources)) > 1:
        on_message("training: each source left out")
        validations.append(validate_sources("own ranker at an unseen source", plain, fit_trees))
    is_better = own.metrics["MRR"] >= with_memory.metrics["MRR"]
    return validations, own_scores if is_better else shipped_scores, is_better


def _calibrate(
    examples: Examples, scores: Floats, terms: Sequence[ResolvedTerm]
) -> tuple[Calibration, list[str]]:
    """The calibration of out-of-sample scores, and a note about the judge's answers if there are any."""
    first = examples.first_candidates(scores)
    calibration, probability = calibrate_out_of_sample(first, term_folds(len(examples)), isotonic=True)
    answers = [
        judge_calibration.classify_answer(gold.term.extra.get("judge", ""), int(examples.concept_ids[row]))
        if row >= 0
        else None
        for (gold, _), row in zip(terms, first.rows, strict=True)
    ]
    shifts, note = judge_calibration.learn_shifts(probability, answers, first.correct)
    return replace(calibration, judge_shifts=shifts), [note] if note else []


def _missing_targets(examples: Examples, matched: int) -> Iterator[str]:
    """A note if retrieval found few of the targets."""
    owner = np.repeat(np.arange(len(examples)), np.diff(examples.offsets))
    found = len(np.unique(owner[examples.is_target]))
    if matched and found < _MIN_FOUND_SHARE * matched:
        yield f"{1 - found / matched:.0%} of the chosen concepts are not among the candidates"
