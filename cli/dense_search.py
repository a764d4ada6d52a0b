"""omop-emb search --dense: the nearest vectors of the active space, and how they were searched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import click

from omop_emb import ConceptFilter, ConceptMatch, MetricType
from omop_emb.records import counted

from .options import option_group
from .render import echo
from .suggestions import Choice

if TYPE_CHECKING:
    from omop_emb import Part, SearchResult
    from omop_emb.embeddings import EmbeddingInput

    from .query_files import QueryFiles

MATCH_COLUMNS = tuple(field.name for field in fields(ConceptMatch))


@dataclass(frozen=True, kw_only=True)
class DenseOptions:
    """How vectors are searched."""

    metric: MetricType
    recall: float | None
    exact: bool


def _make_dense(dense: bool, metric: str | None, recall: float | None, exact: bool) -> DenseOptions | None:
    if not dense:
        given = {"--metric": metric is not None, "--recall": recall is not None, "--exact": exact}
        if unused := [option for option, is_given in given.items() if is_given]:
            raise click.UsageError(f"{unused[0]} says how vectors are searched: add --dense")
        return None
    return DenseOptions(metric=MetricType(metric or MetricType.COSINE.value), recall=recall, exact=exact)


# Passes `dense`, DenseOptions or None.
dense_options = option_group(
    "dense",
    _make_dense,
    click.option(
        "--dense", is_flag=True, help="Search by vectors only: no spelling, abbreviations or ranker."
    ),
    click.option(
        "--metric",
        type=Choice([metric.value for metric in MetricType]),
        help="With --dense: the distance by which concepts are ranked.  [default: cosine]",
    ),
    click.option(
        "--recall",
        type=click.FloatRange(0, 1, min_open=True),
        help="With --dense: share of the true nearest concepts that an index must find.  "
        "[default: 0.99 if measured]",
    ),
    click.option("--exact", is_flag=True, help="With --dense: compare every row, however long it takes."),
)


def search_vectors(
    terms: tuple[str, ...], how: DenseOptions, k: int, concept_filter: ConceptFilter, *, explain: bool
) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows to show, and why some of the terms that look like an id or code are none."""
    from omop_emb.database import waiting_session
    from omop_emb.vocabulary import look_up

    with waiting_session() as session:
        found = look_up(session, terms)
        texts = [term for term in terms if term not in found.concepts and term not in found.missing]
        matches = _nearest(
            session,
            texts,
            explain,
            metric_type=how.metric,
            k=k,
            concept_filter=concept_filter,
            recall=how.recall,
            exact=how.exact,
        )
    if texts and not any(matches):
        echo("no concept passes the filter")
    rows: list[dict[str, Any]] = []
    nearest = dict(zip(texts, matches, strict=True))
    for term in terms:
        if term in found.concepts:
            rows.append({"query": term, "rank": 1, **asdict(found.concepts[term]), "matched_text": term})
        elif term in nearest:
            rows += ({"query": term, "rank": n, **asdict(m)} for n, m in enumerate(nearest[term], 1))
    return rows, list(found.missing.values())


def search_with_files(
    terms: Sequence[str],
    files: QueryFiles,
    how: DenseOptions | None,
    k: int,
    concept_filter: ConceptFilter,
    *,
    explain: bool,
) -> list[dict[str, Any]]:
    """The rows to show for one query of terms and files."""
    from omop_emb.database import waiting_session

    how = how or DenseOptions(metric=MetricType.COSINE, recall=None, exact=False)
    query: list[str | Part] = [*terms, *files.parts()]
    with waiting_session() as session:
        (matches,) = _nearest(
            session,
            [query],
            explain,
            metric_type=how.metric,
            k=k,
            concept_filter=concept_filter,
            recall=how.recall,
            exact=how.exact,
            combine=files.combine,
        )
    if not matches:
        echo("no concept passes the filter")
    label = " + ".join([*terms, *files.names])
    return [{"query": label, "rank": rank, **asdict(match)} for rank, match in enumerate(matches, 1)]


def _nearest(
    session: Any, texts: Sequence[EmbeddingInput], explain: bool, **options: Any
) -> list[list[ConceptMatch]]:
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
    scan = f" by {plan.scan}" if plan.scan else ""
    read = "" if plan.scanned is None else f"{plan.scanned:,} read for a query{scan}, "
    yield f"rows: {read}{plan.fetched:,} ranked again in double precision"
    if plan.ef_search is not None:
        queries = counted(plan.fell_back, "query was", "queries were")
        fell_back = f"; {queries} searched exactly after it" if plan.fell_back else ""
        yield f"ef_search: {plan.ef_search}{fell_back}"
    yield (
        f"time: {plan.milliseconds:,.1f} ms to search for {counted(plan.queries, 'text')}, after "
        f"{result.embedding_milliseconds:,.1f} ms to load the model and embed"
    )
