"""A site's own ranker, learned from what it approved, and by cross-validation what that gains."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import omop_emb
from omop_emb.arrays import Floats
from omop_emb.database.engine import driver_connection, readable_errors
from omop_emb.errors import InputError
from omop_emb.mapping.approvals import approval_store
from omop_emb.mapping.approvals.approval_store import Approval
from omop_emb.mapping.engine import Engine
from omop_emb.mapping.evaluation.gold import GoldFile, GoldTerm, Targets, read_gold
from omop_emb.mapping.evaluation.leakage import OwnSource
from omop_emb.mapping.features import relative
from omop_emb.mapping.features.names import NAMES
from omop_emb.mapping.files.columns import Columns
from omop_emb.mapping.judge import judge_calibration
from omop_emb.mapping.mapper import DEFAULT_SITE, open_mapper
from omop_emb.mapping.ranking import calibration, ranker_store, trees
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.ranking.linear import LinearRanker, approved_first, default_ranker
from omop_emb.mapping.retrieval.candidates import MEMORY
from omop_emb.mapping.settings import Settings
from omop_emb.mapping.training.cross_validation import Protocol, same_sources, unseen_sources
from omop_emb.mapping.training.linear_training import Score, calibrate, folds

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

LEAST_TERMS = 100
"""Fewer approvals that have a match teach nothing that could be shown to hold."""

MOST_TERMS = 10_000
"""More are drawn from at random: training on this many takes 2 to 3 GB, and more gained nothing."""

_ALIKE = [place for place, name in enumerate(NAMES) if name.startswith("reads alike")]
_ROWS = 100_000
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a site's ranker is trained on, and how the files are read.

    Attributes:
        site: whose ranker it will be.
        remember: whether approved names are remembered too.
        columns, target_column, source_column: see gold.read_gold.
        rounds: how many trees; None: trees.ROUNDS.
    """

    site: str = DEFAULT_SITE
    remember: bool = True
    columns: Columns = field(default_factory=Columns)
    target_column: str | None = None
    source_column: str | None = None
    rounds: int | None = None


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What was trained and stored.

    Attributes:
        ranker_id: its number in the database.
        own_order: whether the site's own trees order candidates; else the shipped
            ranker does, calibrated here.
        terms, no_match: approvals with a match that were learned from, and those without.
        remembered: approved names that are new in the memory.
        protocols: what cross-validation found.
        problems: a line for each row that could not be used.
        notes: what a person should know.
    """

    ranker_id: int
    own_order: bool
    terms: int
    no_match: int
    remembered: int
    protocols: Sequence[Protocol]
    problems: Sequence[str]
    notes: Sequence[str]


def train(
    session: Session | Connection,
    paths: Iterable[str | Path],
    training: Training | None = None,
    *,
    say: Say = lambda _: None,
) -> Trained:
    """Train, cross-validate and store a site's ranker for the active space; the caller commits.

    Raises:
        InputError: a file cannot be read, or there are too few approvals.
        MissingExtraError: LightGBM is not installed.
    """
    asked = training or Training()
    trees.require()
    gold = read_gold(
        paths, columns=asked.columns, target_column=asked.target_column, source_column=asked.source_column
    )
    with readable_errors():
        connection = driver_connection(session)
        remembered = 0
        if asked.remember:
            for source in dict.fromkeys(term.source for term in gold.terms):
                chosen = [term for term in gold.terms if term.source == source]
                remembered += approval_store.remember(connection, asked.site, _approvals(chosen), source)
        with open_mapper(session, site=asked.site, use_own_ranker=False) as mapper:
            digest = mapper.space.fingerprint.digest
    terms, notes = _usable(mapper.engine, gold)
    say(f"describing the candidates of {len(terms):,} terms")
    examples = examples_of(mapper.engine, terms)
    shipped = default_ranker(NAMES)
    listed, own_order, scores = _cross_validated(examples, shipped, digest, asked.rounds, say)
    if not own_order:
        notes.append("trees of your own order no better than the shipped ranker: that stays, calibrated here")
    fold = folds(examples.source, by_source=False)
    calibrated = calibrate(examples, scores, fold, isotonic=True)
    _, best = calibration.signals(scores, examples.first, examples.dense, examples.lexical, examples.alike)
    answers = [
        judge_calibration.classify_answer(gold.term.extra.get("judge", ""), int(examples.concept_id[place]))
        if place >= 0
        else None
        for (gold, _), place in zip(terms, best, strict=True)
    ]
    judged, note = judge_calibration.learn_shifts(calibrated.probability, answers, calibrated.right)
    if note:
        notes.append(note)
    fitted = replace(calibrated.calibration, judged=judged)
    ranker: LinearRanker | trees.TreeRanker
    if own_order:
        say("training on all terms")
        ranker = trees.TreeRanker.of(
            trees.train_on(examples, rounds=asked.rounds),
            name="",
            fingerprint=digest,
            calibration=fitted,
            features=relative.names(shipped.name),
            domains=trees.domains_of(examples),
        )
    else:
        ranker = replace(shipped, fingerprint=digest, own=True, calibration=fitted)
    found = np.add.reduceat(np.append(examples.right, False), examples.first[:-1]) > 0
    with readable_errors():
        ranker_id = ranker_store.store(
            connection,
            asked.site,
            ranker,
            figures={protocol.name: protocol.figures for protocol in listed},
            trained_on={
                "files": gold.digests,
                "terms": len(terms),
                "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
                "space": mapper.space.name,
                "model": mapper.provenance.model,
                "vocabulary": mapper.provenance.vocabulary,
                "version": omop_emb.__version__,
            },
        )
    matched = sum(bool(rows) for _, rows in terms)
    if matched and found.sum() < 0.8 * matched:
        notes.append(f"{1 - found.sum() / matched:.0%} of the chosen concepts are not among the candidates")
    return Trained(
        ranker_id=ranker_id,
        own_order=own_order,
        terms=matched,
        no_match=len(terms) - matched,
        remembered=remembered,
        protocols=listed,
        problems=[f"{name}, line {problem.line}: {problem.reason}" for name, problem in gold.problems],
        notes=notes,
    )


def _approvals(terms: Sequence[GoldTerm]) -> Iterable[Approval]:
    for gold in terms:
        for target in sorted(gold.targets):
            yield Approval(source_name=gold.term.name, concept_id=target, source_code=gold.term.code)


Usable = list[tuple[GoldTerm, frozenset[int]]]


def _usable(engine: Engine, gold: GoldFile) -> tuple[Usable, list[str]]:
    """Terms with their rows of targets; at most MOST_TERMS."""
    targets = Targets(engine.lexicon)
    resolved = [(term, rows) for term in gold.terms if (rows := targets.rows(term.targets)) is not None]
    matched = sum(bool(rows) for _, rows in resolved)
    if matched < LEAST_TERMS:
        raise InputError(
            f"{matched} approved terms have a standard concept in this vocabulary; {LEAST_TERMS} is the "
            "least that a ranker can be trained on and tested by"
        )
    notes = []
    if len(resolved) > MOST_TERMS:
        drawn = np.random.default_rng(1).choice(len(resolved), MOST_TERMS, replace=False)
        notes.append(f"{MOST_TERMS:,} of {len(resolved):,} terms were drawn to learn from")
        resolved = [resolved[place] for place in sorted(drawn.tolist())]
    return resolved, notes


def examples_of(engine: Engine, terms: Usable, settings: Settings | None = None) -> Examples:
    """The candidates of terms with what is right; no term sees its own source or its own approval."""
    settings = settings or Settings()
    own = OwnSource(engine.lexicon, engine.memory)
    parts: list[tuple[npt.NDArray[Any], ...]] = []
    domains = np.array(engine.lexicon.domains)
    for at in range(0, len(terms), 500):
        block = terms[at : at + 500]
        queries = [own.hide(engine.build_query(gold.term, settings), gold.term) for gold, _ in block]
        ranked = engine.rank(queries, settings)
        found, scored = ranked.candidates, ranked.scored
        right = np.concatenate(
            [
                np.isin(found.concept[found.first[place] : found.first[place + 1]], list(rows))
                for place, (_, rows) in enumerate(block)
            ]
        )
        parts.append(
            (
                scored.features.astype(np.float16),
                domains[engine.lexicon.domain[found.concept]],
                np.diff(found.first),
                right,
                scored.dense,
                scored.lexical,
                scored.features[:, _ALIKE].max(axis=1, initial=0),
                found.by == MEMORY,
                engine.lexicon.concept_id[found.concept],
            )
        )
    features, domain, sizes, right, dense, lexical, alike, remembered, concept_id = (
        np.concatenate(part) for part in zip(*parts, strict=True)
    )
    made = Examples(
        features,
        domain,
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        right,
        np.array([gold.source for gold, _ in terms]),
        dense,
        lexical,
        alike,
        remembered,
        np.array([bool(rows) for _, rows in terms]),
        np.zeros(len(features), np.float32),
        concept_id,
    )
    return _with_shipped(made, default_ranker(NAMES))


def _with_shipped(examples: Examples, shipped: LinearRanker) -> Examples:
    """The terms with scores of the shipped ranker."""
    scores = [
        shipped.weigh(
            examples.features[at : at + _ROWS].astype(np.float32), examples.domains[at : at + _ROWS].tolist()
        )
        for at in range(0, len(examples.features), _ROWS)
    ]
    return replace(examples, shipped=np.concatenate(scores) if scores else examples.shipped)


def _cross_validated(
    examples: Examples, shipped: LinearRanker, digest: str, rounds: int | None, say: Say
) -> tuple[list[Protocol], bool, Floats]:
    """What shipped and own ranker reach, whether the own one orders better, and the better one's scores."""

    def fit(part: Examples) -> Score:
        return trees.Booster(trees.train_on(part, rounds=rounds), trees.domains_of(part)).of

    def shipped_fit(_: Examples) -> Score:
        return lambda part: approved_first(part.shipped, part.features, NAMES)

    ours = digest == shipped.fingerprint
    plain = _with_shipped(examples.without_memory(), shipped)
    before, _ = same_sources("shipped ranker", plain, shipped_fit, shipped.calibration if ours else None)
    with_memory, shipped_scores = same_sources("shipped ranker, with memory", examples, shipped_fit, None)
    say("training: three folds by term")
    own, own_scores = same_sources("own ranker, with memory", examples, fit, None)
    listed = [before, with_memory, own]
    if len(np.unique(examples.source)) > 1:
        say("training: each source left out")
        listed.append(unseen_sources("own ranker, a source it never saw", plain, fit))
    better = own.figures["MRR"] >= with_memory.figures["MRR"]
    return listed, better, own_scores if better else shipped_scores
