"""omop-emb tune: train a local embedding model of one's own."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omop_emb import config
from omop_emb.records import counted

from .options import option_group
from .render import echo, format_option, render

if TYPE_CHECKING:
    from omop_emb.embeddings.tuning import Progress
    from omop_emb.mapping.training import Tuning, TuningPlan

_COLUMNS = ("model", "recall@1", "recall@10", "MRR", "pairs", "pool")
_PLAN_COLUMNS = ("pairs", "held_out", "left_out", "steps", "hours")
_SOURCES = ("synonyms", "maps-to", "brands", "units")
_LINE_SECONDS = 10.0
_file = click.Path(exists=True, dir_okay=False, path_type=Path)


def _make_tuning(vocabulary: tuple[str, ...], no_vocabulary: bool, threads: int | None, **how: Any) -> Tuning:
    from omop_emb.mapping.training import Tuning

    if no_vocabulary and vocabulary:
        raise click.UsageError("give --vocabulary or --no-vocabulary, not both")
    return Tuning(
        vocabulary=() if no_vocabulary else vocabulary or _SOURCES,
        threads=threads,
        document_prefix=config.variable("OMOP_EMB_DOCUMENT_EMBEDDING_PREFIX") or "",
        query_prefix=config.variable("OMOP_EMB_QUERY_EMBEDDING_PREFIX") or "",
        **how,
    )


# Passes `tuning`: what is learned and how, as an omop_emb.mapping.training.Tuning.
_tuning_options = option_group(
    "tuning",
    _make_tuning,
    click.option(
        "--base",
        default="all-MiniLM-L6-v2",
        metavar="MODEL",
        help="Model to start from: the NAME in local:NAME.",
    ),
    click.option(
        "--vocabulary",
        multiple=True,
        type=click.Choice(_SOURCES),
        help="Learn from these pairs of the loaded vocabulary; repeatable, by default all four.",
    ),
    click.option("--no-vocabulary", is_flag=True, help="Do not learn from the vocabulary."),
    click.option(
        "--site",
        "sites",
        multiple=True,
        metavar="NAME",
        help="Learn from the approvals of a site; repeatable.",
    ),
    click.option(
        "--pairs",
        multiple=True,
        type=_file,
        metavar="FILE",
        help="Learn from a table: texts, then names or concept ids; repeatable.",
    ),
    click.option(
        "--without",
        multiple=True,
        type=_file,
        metavar="FILE",
        help="Leave out texts that are in this table, on which you will evaluate; repeatable.",
    ),
    click.option(
        "--most-pairs",
        default=200_000,
        type=click.IntRange(20),
        help="Learn from a sample of at most this many pairs.",
    ),
    click.option(
        "--hard-negatives", is_flag=True, help="Add names that differ in a strength, side or specimen."
    ),
    click.option(
        "--augment", is_flag=True, help="Alter texts: typing errors, case, shortened and dropped words."
    ),
    click.option("--epochs", default=2, type=click.IntRange(1, 100), help="How often each pair is seen."),
    click.option("--batch-pairs", default=96, type=click.IntRange(2, 4096), help="Pairs per batch."),
    click.option(
        "--learning-rate",
        default=3e-5,
        type=click.FloatRange(0, 1, min_open=True),
        help="The highest learning rate.",
    ),
    click.option(
        "--seed", default=0, type=click.IntRange(0), help="Random seed for the order and for --augment."
    ),
    click.option("--threads", type=click.IntRange(1), help="Processor threads; by default all."),
    click.option("--device", default="cpu", metavar="DEVICE", help="Device that torch uses, such as cuda."),
)


@click.command("tune")
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
@_tuning_options
@click.option("--estimate", "estimate_only", is_flag=True, help="Only say how long it would take.")
@click.option("--restart", is_flag=True, help="Start from the beginning, even if a run was interrupted.")
@format_option
def command(folder: Path, tuning: Tuning, estimate_only: bool, restart: bool, format_: str) -> None:
    """Train a local model on pairs of texts and concept names, and write it to FOLDER.

    It learns from the loaded vocabulary (synonyms, names that map to standard concepts, brands, unit codes),
    and on request from approvals and files. Some pairs are held out, to compare the tuned model with the
    original one and to stop training when it no longer improves. To continue an interrupted run, give the
    same command again. FOLDER has the weights as floats; FOLDER/int8 is a quarter of that size.

    \b
    omop-emb tune own-model --estimate
    omop-emb tune own-model --without gold.csv
    omop-emb tune own-model --site north --pairs dictionary.csv --augment
    OMOP_EMB_MODEL=local:own-model/int8 omop-emb index build
    """
    from omop_emb.database import waiting_session
    from omop_emb.mapping.training import TunedModel, tune

    with waiting_session() as session:
        result = tune(
            session,
            folder,
            tuning,
            estimate_only=estimate_only,
            restart=restart,
            on_plan=_echo_plan,
            on_progress=_Lines(),
        )
    if not isinstance(result, TunedModel):
        render([vars(result)], _PLAN_COLUMNS, format_)
        return
    echo(f"the weights of step {result.best_step:,} of {result.plan.steps:,} were best")
    models = {"before": result.before, "tuned": result.after, "tuned, int8": result.after_int8}
    figures = [
        {
            "model": name,
            "recall@1": round(one.recall_at_1, 4),
            "recall@10": round(one.recall_at_10, 4),
            "MRR": round(one.mrr, 4),
            "pairs": one.pairs,
            "pool": one.pool,
        }
        for name, one in models.items()
    ]
    render(figures, _COLUMNS, format_)
    if result.after.mrr <= result.before.mrr:
        echo("the tuned model is no better on the held-out pairs: keep the original one")
    echo(f"use it: OMOP_EMB_MODEL=local:{result.folder.absolute()} omop-emb index build")


def _echo_plan(plan: TuningPlan) -> None:
    left_out = (
        (f", {plan.left_out:,} left out because you will evaluate on their text") if plan.left_out else ""
    )
    echo(
        f"{counted(plan.pairs, 'pair')} to learn from, {plan.held_out:,} held out{left_out}; "
        f"{counted(plan.steps, 'step')} at most, about {plan.hours:.1f} hours without measuring"
    )


class _Lines:
    """A line now and then, and at each evaluation."""

    def __init__(self) -> None:
        self._shown = -math.inf

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.score is None and now - self._shown < _LINE_SECONDS:
            return
        self._shown = now
        score = f", MRR of pairs held out {progress.score:.4f}" if progress.score is not None else ""
        minutes = progress.seconds_left / 60
        echo(
            f"step {progress.step:,} of {progress.steps:,}, loss {progress.loss:.3f}{score}, "
            f"about {minutes:,.0f} minutes left"
        )
