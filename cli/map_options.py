"""The options of omop-emb map: which files are written, how terms are mapped."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import (
    APPROVED_COLUMN_OPTIONS,
    FILTER_OPTIONS,
    all_approved_option,
    make_approved_columns,
    make_filter,
    option_group,
    prefer_option,
)
from .render import echo
from .suggestions import Choice

if TYPE_CHECKING:
    from omop_emb.mapping import Settings
    from omop_emb.mapping.approvals import ApprovedColumns
    from omop_emb.mapping.file_job import Outputs
    from omop_emb.mapping.files import MapKey
    from omop_emb.mapping.judge import JudgeJob, TranslationJob

_FILE = click.Path(dir_okay=False, path_type=Path)


def _make_outputs(
    source_vocabulary_id: str | None, unreviewed: bool, map_key: MapKey | None, **files: Any
) -> Outputs:
    from omop_emb.mapping.file_job import Outputs
    from omop_emb.mapping.files import MapSettings

    has_map = bool(files["map_file"] or files["map_schema"])
    if has_map and source_vocabulary_id is None:
        raise click.UsageError(
            "source_to_concept_map needs --source-vocabulary-id, your own vocabulary id for the codes"
        )
    if source_vocabulary_id is not None and not has_map:
        raise click.UsageError("--source-vocabulary-id is for --map-file or --map-schema: give one of them")
    if map_key is not None and not has_map:
        raise click.UsageError("--map-key is for --map-file or --map-schema: give one of them")
    settings = None
    if source_vocabulary_id is not None:
        settings = MapSettings(
            source_vocabulary_id=source_vocabulary_id, unreviewed=unreviewed, key=map_key or "code"
        )
    return Outputs(map_settings=settings, **files)


def _make_settings(
    candidates: int,
    accept_precision: float | None,
    accept_untrained: bool,
    accept_codes: bool,
    explain: int,
    prefer: tuple[str, ...],
    **filters: Any,
) -> Settings:
    from omop_emb.mapping import Settings
    from omop_emb.mapping.ranking import Policy

    if accept_untrained and accept_precision is None:
        raise click.UsageError("--accept-untrained does nothing without --accept-precision, such as 0.98")
    policy = Policy(accept_precision=accept_precision, accept_untrained=accept_untrained)
    return Settings(
        candidates=candidates,
        explain=explain,
        prefer=prefer,
        accept_codes=accept_codes,
        policy=policy,
        concept_filter=make_filter(**filters),
    )


def _make_judge(model: str | None, thinking: int | None, **how: Any) -> JudgeJob | None:
    from omop_emb.mapping.judge import JudgeJob
    from omop_emb.providers import make_chat_model

    if model is None:
        given = {
            "--judge-orders": how["orders"],
            "--judge-examples": how["examples"],
            "--judge-thinking": thinking,
            "--judge-estimate": how["estimate_only"],
        }
        if unused := [option for option, value in given.items() if value]:
            raise click.UsageError(
                f"{unused[0]} is for a judge, and none is used: add --judge PROVIDER:MODEL"
            )
        return None
    return JudgeJob(model=make_chat_model(model, thinking_tokens=thinking), **how)


def _make_translation(
    translate_model: str | None, translate_terms: int, translate_prices: tuple[float, float] | None
) -> TranslationJob | None:
    from omop_emb.mapping.judge import TranslationJob
    from omop_emb.providers import make_chat_model

    if translate_model is None:
        return None
    model = make_chat_model(translate_model, what="a model that translates")
    return TranslationJob(model=model, max_terms=translate_terms, prices=translate_prices)


def _make_previous(
    previous: Path | None, all_approved: bool, approved: str | None, approved_values: tuple[str, ...]
) -> tuple[Path | None, ApprovedColumns]:
    if previous is None and (all_approved or approved or approved_values):
        raise click.UsageError(
            "--all-approved and --approved-column say how --previous FILE is read: give it"
        )
    return previous, make_approved_columns(
        all_approved=all_approved, approved=approved, approved_values=approved_values
    )


def asking(*, is_asked: bool) -> Callable[[str], bool]:
    """What says the cost of a generative model, and asks on a terminal whether to go on if `is_asked`."""

    def confirm(question: str) -> bool:
        echo(question)
        return not (is_asked and sys.stdin.isatty()) or click.confirm("continue?", err=True)

    return confirm


# Passes `outputs`, an omop_emb.mapping.file_job.Outputs.
output_options = option_group(
    "outputs",
    _make_outputs,
    click.option(
        "-o",
        "--output",
        required=True,
        help="The mapped terms: .usagi.csv for Usagi, or a table: .csv, .tsv, .xlsx, .parquet; - is stdout.",
    ),
    click.option(
        "--candidates-output", "candidate_table", type=_FILE, help="All candidates with scores, one per row."
    ),
    click.option("--review-queue", type=_FILE, help="Terms to review, the most valuable ones first."),
    click.option("--map-file", type=_FILE, help="Write a source_to_concept_map of CDM 5.4 to this file."),
    click.option(
        "--map-schema",
        is_flag=False,
        flag_value="omop_emb",
        metavar="SCHEMA",
        help="Fill source_to_concept_map in this schema; without a value, in omop_emb.",
    ),
    click.option(
        "--source-vocabulary-id", help="Your own vocabulary id for the codes in source_to_concept_map."
    ),
    click.option(
        "--map-key",
        type=Choice(["code", "code+name"]),
        help="What goes into source_code: the code (default; the name if there is none), or code|name.",
    ),
    click.option("--unreviewed", is_flag=True, help="Also write unreviewed terms to source_to_concept_map."),
    click.option(
        "--outdated",
        type=_FILE,
        help="Write approved targets that are no longer valid, and why, to this file.",
    ),
    click.option("--keep-run", is_flag=True, help="Also store every candidate in the database."),
)

# Passes `settings`, an omop_emb.mapping.Settings.
mapping_options = option_group(
    "settings",
    _make_settings,
    click.option("-k", "candidates", default=10, type=click.IntRange(min=1), help="Candidates per term."),
    click.option(
        "--accept-precision", type=float, help="Accept matches automatically, at this precision or better."
    ),
    click.option("--accept-untrained", is_flag=True, help="Accept even without your own approvals."),
    click.option(
        "--accept-codes",
        is_flag=True,
        help="Accept the target of a source code, unless the name contradicts it.",
    ),
    click.option(
        "--explain", default=0, metavar="N", help="Give reasons for and against the first N candidates."
    ),
    prefer_option,
    *FILTER_OPTIONS,
)

# Passes `previous`, a path or None, and an omop_emb.mapping.approvals.ApprovedColumns.
previous_options = option_group(
    "previous",
    _make_previous,
    click.option(
        "--previous",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Mappings that a person approved; they are kept if their targets are still valid.",
    ),
    *APPROVED_COLUMN_OPTIONS,
    all_approved_option,
)

# Passes `translate`, an omop_emb.mapping.judge.TranslationJob or None.
translate_options = option_group(
    "translate",
    _make_translation,
    click.option(
        "--translate",
        "translate_model",
        metavar="PROVIDER:MODEL",
        help="Have ollama:…, gemini:… or openai:… translate distinct terms into English, as an additional "
        "query.",
    ),
    click.option(
        "--translate-terms",
        "translate_terms",
        default=5000,
        type=click.IntRange(min=1),
        help="Translate at most this many distinct terms, the most frequent ones.",
    ),
    click.option(
        "--translate-prices",
        "translate_prices",
        type=(float, float),
        metavar="IN OUT",
        help="US dollars per million input and output tokens, to show what translating costs.",
    ),
)

# Passes `judge`, an omop_emb.mapping.judge.JudgeJob or None.
judge_options = option_group(
    "judge",
    _make_judge,
    click.option(
        "--judge",
        "model",
        metavar="PROVIDER:MODEL",
        help="Ask ollama:…, gemini:… or openai:… about terms in review. The model decides nothing.",
    ),
    click.option(
        "--judge-orders",
        "orders",
        is_flag=True,
        help="Let the judge's choices reorder candidates, by the worth that calibrate has learned.",
    ),
    click.option(
        "--judge-terms",
        "max_terms",
        default=1000,
        type=click.IntRange(min=1),
        help="Ask about at most this many terms: the most valuable ones in map, random ones in evaluate.",
    ),
    click.option(
        "--judge-prices",
        "prices",
        type=(float, float),
        metavar="IN OUT",
        help="US dollars per million input and output tokens, to show what asking costs.",
    ),
    click.option(
        "--judge-examples",
        "examples",
        default=0,
        type=click.IntRange(0, 10),
        help="With each term, show the judge this many of the site's approvals, the most similar ones.",
    ),
    click.option(
        "--judge-thinking",
        "thinking",
        type=click.IntRange(min=0),
        metavar="TOKENS",
        help="Let a thinking model think for at most this many tokens per question.",
    ),
    click.option(
        "--judge-estimate",
        "estimate_only",
        is_flag=True,
        help="Only estimate what asking would cost; do not ask.",
    ),
)
