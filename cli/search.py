"""omop-emb search: the nearest concepts of terms, in the active space."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click

from omop_emb import ConceptMatch, MetricType

from .options import concept_filter, filter_options
from .render import format_option, render, say

_COLUMNS = ("query", "rank", *(field.name for field in fields(ConceptMatch)))
_TABLE_COLUMNS = ("query", "rank", "concept_id", "concept_name", "domain_id", "similarity", "matched_text")


@click.command("search")
@click.argument("terms", nargs=-1, metavar="TERM…")
@click.option(
    "--file",
    "file",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Terms from a file, one a line; - is stdin.",
)
@click.option("-k", default=10, show_default=True, type=click.IntRange(min=1), help="Concepts per term.")
@click.option(
    "--metric",
    type=click.Choice([metric.value for metric in MetricType]),
    default=MetricType.COSINE.value,
    show_default=True,
    help="The distance that ranks and is shown.",
)
@filter_options
@format_option
def command(
    terms: tuple[str, ...], file: Path | None, k: int, metric: str, format_: str, **filters: Any
) -> None:
    """The nearest concepts of each TERM; a concept id or VOCABULARY:CODE is looked up instead.

    \b
    omop-emb search "high blood pressure"
    omop-emb search "heart attack" --domain Condition -k 3 --format json
    omop-emb search 4329847 SNOMED:22298006
    omop-emb search --file terms.txt --format csv > hits.csv
    """
    from omop_emb import EmbeddingInterface
    from omop_emb.database import session_scope
    from omop_emb.lookup import look_up

    wanted = [*terms, *_lines(file)]
    if not wanted:
        raise click.UsageError('give at least one term, such as omop-emb search "heart attack"')
    rows: list[dict[str, Any]] = []
    with session_scope() as session:
        concepts = look_up(session, wanted)
        texts = [term for term in wanted if term not in concepts]
        found = (
            EmbeddingInterface().get_nearest_concepts_from_query_texts(
                session=session,
                index_type=None,
                query_texts=texts,
                metric_type=MetricType(metric),
                k=k,
                concept_filter=concept_filter(**filters),
            )
            if texts
            else []
        )
    nearest = dict(zip(texts, found, strict=True))
    for term in wanted:
        if term in concepts:
            rows.append({"query": term, "rank": 1, **asdict(concepts[term]), "matched_text": term})
        else:
            rows += ({"query": term, "rank": n, **asdict(m)} for n, m in enumerate(nearest[term], 1))
            if not nearest[term]:
                say(f"nothing passes the filter for {term!r}")
    render(rows, _TABLE_COLUMNS if format_ == "table" else _COLUMNS, format_)


def _lines(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        with click.open_file(str(file), encoding="utf-8-sig") as stream:
            return [line.strip() for line in stream if line.strip()]
    except OSError as error:
        raise click.UsageError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{file} is not UTF-8; convert it first, for example with iconv") from error
