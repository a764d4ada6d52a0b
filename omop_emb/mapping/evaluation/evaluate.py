"""Measuring what a database's space and a site's ranker make of gold files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from omop_emb.database.engine import driver_connection, readable_errors
from omop_emb.interface.space_client import client_of
from omop_emb.mapping.evaluation.comparison import compare, ranks_by_key
from omop_emb.mapping.evaluation.gold import read_gold
from omop_emb.mapping.evaluation.metrics import figures
from omop_emb.mapping.evaluation.outcomes import evaluate
from omop_emb.mapping.evaluation.report import Evaluation, read_ranks
from omop_emb.mapping.files.columns import Columns
from omop_emb.mapping.mapper import DEFAULT_SITE, open_mapper
from omop_emb.mapping.ranking import ranker_store
from omop_emb.mapping.settings import Settings
from omop_emb.spaces import registry

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What is measured, and how the files are read.

    Attributes:
        site: whose memory and ranker map.
        space: name of the space; None takes the active one.
        shipped: the shipped ranker maps, although the site has one of its own.
        use_memory: whether approved names take part.
        by: groups that get figures of their own: "domain", "source".
        no_match_below: a first candidate less probable counts as the answer "no match".
        against: an earlier report to compare with; None for none.
        settings: how terms are mapped.
        columns, target_column, source_column: see gold.read_gold.
    """

    site: str = DEFAULT_SITE
    space: str | None = None
    shipped: bool = False
    use_memory: bool = True
    by: Sequence[str] = ()
    no_match_below: float = 0.0
    against: Path | None = None
    settings: Settings = field(default_factory=Settings)
    columns: Columns = field(default_factory=Columns)
    target_column: str | None = None
    source_column: str | None = None


def measure(
    session: Session | Connection,
    paths: Iterable[str | Path],
    measured: Measured | None = None,
    *,
    progress: Callable[[int], None] | None = None,
) -> tuple[Evaluation, list[str]]:
    """The evaluation of gold files, and a line for each row that could not be used.

    Raises:
        InputError: a file cannot be read, or nothing in it can be measured.
        SpaceNotFoundError: there is no such space.
        VocabularyError: no vocabulary is loaded.
    """
    asked = measured or Measured()
    earlier = read_ranks(asked.against) if asked.against is not None else None
    gold = read_gold(
        paths, columns=asked.columns, target_column=asked.target_column, source_column=asked.source_column
    )
    with readable_errors():
        connection = driver_connection(session)
        client = None
        if asked.space is not None:
            client = client_of(registry.space_by_name(connection, asked.space))
        with open_mapper(
            session,
            client=client,
            site=asked.site,
            use_memory=asked.use_memory,
            use_own_ranker=not asked.shipped,
        ) as mapper:
            provenance, notes = mapper.provenance, list(mapper.notes)
            if mapper.engine.ranker.own:
                digest = mapper.space.fingerprint.digest
                learned = ranker_store.trained_on(connection, asked.site, digest).get("files", {})
                if both := sorted(name for name, sha in gold.digests.items() if sha in learned.values()):
                    notes.append(
                        f"the ranker {provenance.ranker} learned from {', '.join(both)}: these figures "
                        "flatter it; what omop-emb calibrate cross-validated does not"
                    )
            outcomes = evaluate(mapper.engine, gold.terms, asked.settings, progress=progress)
    differences = compare(ranks_by_key(outcomes), earlier) if earlier is not None else []
    evaluation = Evaluation(
        title=", ".join(gold.digests),
        outcomes=outcomes,
        figures=figures(outcomes, by=asked.by, no_match_below=asked.no_match_below),
        provenance=provenance,
        left_out=len(gold.terms) - len(outcomes),
        notes=notes,
        against=str(asked.against or ""),
        differences=differences,
    )
    return evaluation, [f"{name}, line {problem.line}: {problem.reason}" for name, problem in gold.problems]
