"""omop-emb search: the nearest concepts of terms, in the active space."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omop_emb import ConceptFilter, ConceptMatch, MetricType
from omop_emb.records import counted

from .options import filter_options
from .reading_options import term_file_options
from .render import echo, format_option, render
from .suggestions import Choice

if TYPE_CHECKING:
    from omop_emb import SearchResult
    from omop_emb.mapping.files import ReadOptions

_COLUMNS = ("query", "rank", *(field.name for field in fields(ConceptMatch)))
_TABLE_COLUMNS = (
    *("query", "rank", "concept_id", "concept_name", "domain_id", "vocabulary_id", "concept_code"),
    *("similarity", "matched_text"),
)


@click.command("search")
@click.argument("terms", nargs=-1, metavar="TERM…")
@term_file_options
@click.option("-k", default=10, type=click.IntRange(min=1), help="Concepts per term.")
@click.option(
    "--metric",
    type=Choice([metric.value for metric in MetricType]),
    default=MetricType.COSINE.value,
    help="Distance by which concepts are ranked.",
)
@click.option(
    "--recall",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the true nearest that an index must find.  [default: 0.99 if measured]",
)
@click.option("--exact", is_flag=True, help="Compare every row, however long it takes.")
@click.option(
    "--explain",
    is_flag=True,
    help="Print the search method and why it was chosen, rows read and time to stderr.",
)
@filter_options
@format_option
def command(
    terms: tuple[str, ...],
    term_file: tuple[Path, ReadOptions] | None,
    k: int,
    metric: str,
    recall: float | None,
    exact: bool,
    explain: bool,
    format_: str,
    concept_filter: ConceptFilter,
) -> int:
    """Find the nearest concepts of each TERM; a concept id or VOCABULARY:CODE is looked up instead.

    One that does not exist is reported, never searched as text.

    \b
    omop-emb search "high blood pressure"
    omop-emb search "heart attack" --domain Condition -k 3 --format json
    omop-emb search "heart attack" --domain Drug --explain
    omop-emb search 4329847 SNOMED:22298006
    omop-emb search --file terms.txt --format csv > hits.csv
    omop-emb search --file terms.xlsx --sheet Lab --name-column TEST
    """
    from omop_emb.database import session_scope
    from omop_emb.vocabulary import look_up

    terms = (*terms, *_terms_of(term_file))
    if not terms:
        raise click.UsageError('give at least one term, such as omop-emb search "heart attack"')
    rows: list[dict[str, Any]] = []
    with session_scope() as session:
        found = look_up(session, terms)
        texts = [term for term in terms if term not in found.concepts and term not in found.missing]
        matches = _nearest(
            session,
            texts,
            explain,
            metric_type=MetricType(metric),
            k=k,
            concept_filter=concept_filter,
            recall=recall,
            exact=exact,
        )
    nearest = dict(zip(texts, matches, strict=True))
    for term in terms:
        if term in found.concepts:
            rows.append({"query": term, "rank": 1, **asdict(found.concepts[term]), "matched_text": term})
        elif term in nearest:
            rows += ({"query": term, "rank": n, **asdict(m)} for n, m in enumerate(nearest[term], 1))
    if texts and not any(matches):
        echo("no concept passes the filter")
    for reason in found.missing.values():
        echo(f"error: {reason}")
    # One term need not be repeated in each of its rows.
    optional = (*(("query",) if len(terms) == 1 else ()), "matched_text", "domain_id", "vocabulary_id")
    render(rows, _TABLE_COLUMNS if format_ == "table" else _COLUMNS, format_, optional=optional)
    if not found.missing:
        return 0
    return 3 if texts or found.concepts else 1


def _nearest(session: Any, texts: list[str], explain: bool, **options: Any) -> list[list[ConceptMatch]]:
    from omop_emb import EmbeddingInterface

    if not texts:
        return []
    interface = EmbeddingInterface()
    if not explain:
        return interface.get_nearest_concepts_from_query_texts(session=session, query_texts=texts, **options)
    result = interface.explain_search(session=session, query_texts=texts, **options)
    for line in _explanation(result):
        echo(line)
    return result.matches


def _explanation(result: SearchResult) -> Iterator[str]:
    plan = result.plan
    how = f"{plan.method.value} {plan.index}" if plan.index else plan.method.value
    yield f"method: {how} in space {result.space}, because {plan.reason}"
    read = f"rows: {plan.scanned:,} read for a query" if plan.scanned is not None else "rows:"
    scan = f" by {plan.scan}" if plan.scan else ""
    yield f"{read}{scan}, {plan.fetched:,} ranked again in double precision"
    if plan.ef_search is not None:
        queries = counted(plan.fell_back, "query was", "queries were")
        fell_back = f"; {queries} searched exactly after it" if plan.fell_back else ""
        yield f"ef_search: {plan.ef_search}{fell_back}"
    yield (
        f"time: {plan.milliseconds:,.1f} ms to search for {counted(plan.queries, 'text')}, after "
        f"{result.embedding_milliseconds:,.1f} ms to load the model and embed"
    )


def _terms_of(term_file: tuple[Path, ReadOptions] | None) -> list[str]:
    from omop_emb.mapping.files import count_lines, first_problems, open_terms, reading_lines

    if term_file is None:
        return []
    file, options = term_file
    with open_terms(file, options, stdin=sys.stdin.buffer if str(file) == "-" else None) as terms:
        for line in reading_lines(terms):
            echo(line)
        names = [term.name for term in terms]
        for line in (*first_problems(terms.problems), *count_lines(terms)):
            echo(line)
    return names
