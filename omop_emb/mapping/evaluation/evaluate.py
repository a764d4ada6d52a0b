"""Evaluation of gold files: how well a space and a site's ranker map terms whose concepts are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from omop_emb.database.engine import readable_errors, short_transaction
from omop_emb.mapping.approvals.reviewed_table import ApprovedColumns
from omop_emb.mapping.evaluation.comparison import compare_ranks, ranks_by_key
from omop_emb.mapping.evaluation.evaluation_record import Evaluation
from omop_emb.mapping.evaluation.gold import read_gold, translated
from omop_emb.mapping.evaluation.judge_gain import evaluate_judge
from omop_emb.mapping.evaluation.metrics import compute_metrics
from omop_emb.mapping.evaluation.outcomes import evaluate_terms
from omop_emb.mapping.evaluation.report import read_ranks
from omop_emb.mapping.judge.judge_job import JudgeJob
from omop_emb.mapping.judge.prompt import ConceptContext, concept_contexts
from omop_emb.mapping.judge.translation_job import TranslationJob
from omop_emb.mapping.mapper import DEFAULT_SITE, open_mapper
from omop_emb.mapping.ranking import ranker_store
from omop_emb.mapping.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What is evaluated, and how the files are read.

    Attributes:
        site: the site whose memory and ranker are used.
        space: name of the space; None uses the active one.
        also_spaces: names of spaces that are searched too; None: those that the site's ranker learned with.
        shipped: use the shipped ranker, even if the site has one of its own.
        use_memory: whether approved names are searched too.
        by: groups with metrics of their own: "domain", "source".
        no_match_below: a first candidate with a lower probability counts as the answer "no match".
        against: the folder of an earlier report, or its report.json, to compare with; None for none.
        settings: how terms are mapped.
        columns: how the files are read; a table that does not say what was approved counts as a whole.
        translate: a generative model that translates the terms first; None asks none.
        judge: asked about the terms, to measure what its choices gain; None asks none.
    """

    site: str = DEFAULT_SITE
    space: str | None = None
    also_spaces: Sequence[str] | None = None
    shipped: bool = False
    use_memory: bool = True
    by: Sequence[str] = ()
    no_match_below: float = 0.0
    against: str | Path | None = None
    settings: Settings = field(default_factory=Settings)
    columns: ApprovedColumns = field(default_factory=ApprovedColumns)
    translate: TranslationJob | None = None
    judge: JudgeJob | None = None


def measure(
    session: Session | Connection,
    paths: Iterable[str | Path],
    options: EvaluationOptions | None = None,
    *,
    on_message: Callable[[str], None] = lambda _line: None,
    confirm: Callable[[str], bool] = lambda _question: True,
) -> tuple[Evaluation, Sequence[str]]:
    """The evaluation of gold files, and a line for each row that could not be used; nothing is written.

    Args:
        session: the transaction to read in.
        paths: of the gold files.
        options: what is evaluated.
        on_message: called with each line about translations and a judge.
        confirm: asked before a generative model is used, with the expected cost; False leaves a judge out;
            for translations it is an InputError.

    Raises:
        ConfigurationError: a judge is to order candidates, and what its choices are worth is not known.
        InputError: a file cannot be read, or nothing in it can be measured.
        SpaceNotFoundError: the space does not exist.
        VocabularyError: no vocabulary is loaded.
        ProviderError: the model that translates failed.
    """
    options = options or EvaluationOptions()
    earlier = read_ranks(Path(options.against)) if options.against is not None else None
    gold = read_gold(paths, options.columns, whole_tables=True)
    gold = translated(gold, options.translate, on_message=on_message, confirm=confirm)
    with readable_errors():
        with open_mapper(
            session,
            space_name=options.space,
            also_spaces=options.also_spaces,
            site=options.site,
            use_memory=options.use_memory,
            use_own_ranker=not options.shipped,
        ) as mapper:
            notes = [*gold.notes, *mapper.notes]
            if mapper.engine.ranker.is_site_trained:
                digest = mapper.space.fingerprint.digest
                with short_transaction(session) as connection:
                    training = ranker_store.active_training(connection, options.site, digest)
                trained_on = training.get("files", {})
                if both := sorted(name for name, sha in gold.digests.items() if sha in trained_on.values()):
                    notes.append(
                        f"the ranker {mapper.provenance.ranker} was trained on {', '.join(both)}, so these "
                        "metrics are too optimistic: omop-emb calibrate prints cross-validated ones"
                    )
            outcomes = evaluate_terms(mapper.engine, gold.terms, options.settings)
            judge = None
            if options.judge is not None:
                judge = evaluate_judge(
                    mapper.engine,
                    gold.terms,
                    options.settings,
                    options.judge,
                    provenance=mapper.provenance,
                    read_contexts=partial(_contexts, session),
                    on_message=on_message,
                    confirm=confirm,
                )
    evaluation = Evaluation(
        title=", ".join(gold.digests),
        outcomes=outcomes,
        metrics=compute_metrics(outcomes, by=options.by, no_match_below=options.no_match_below),
        provenance=mapper.provenance,
        left_out=len(gold.terms) - len(outcomes),
        notes=notes,
        against=str(options.against or ""),
        differences=compare_ranks(ranks_by_key(outcomes), earlier) if earlier is not None else [],
        judge=judge,
    )
    return evaluation, gold.problems


def _contexts(session: Session | Connection, concept_ids: Iterable[int]) -> dict[int, ConceptContext]:
    with short_transaction(session) as connection:
        return concept_contexts(connection, concept_ids)
