"""omop-emb search: the concepts that terms may mean, with what each was found through."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from omop_emb import ConceptFilter, config

from .dense_search import MATCH_COLUMNS, DenseOptions, dense_options, search_vectors, search_with_files
from .options import also_space_option, filter_options, prefer_option, site_option
from .query_files import QueryFiles, query_file_options
from .reading_options import term_file_options
from .render import echo, format_option, render

if TYPE_CHECKING:
    from omop_emb.mapping.files import ReadOptions
    from omop_emb.service import FoundConcept, FoundConcepts

_COLUMNS = ("query", "rank", *MATCH_COLUMNS, "probability", "score", "found_through", "maps_to")
_REASONS = ("speaks_for", "speaks_against")
_TABLE_COLUMNS = (
    *("query", "rank", "concept_id", "concept_name", "domain_id", "vocabulary_id", "concept_code"),
    *("probability", "found_through"),
)
_DENSE_TABLE_COLUMNS = (*_TABLE_COLUMNS[:-2], "similarity", "matched_text")
_DENSE_OPTIONAL = ("matched_text", "domain_id", "vocabulary_id")  # the least important first
_OPTIONAL = ("concept_code", "vocabulary_id", "rank", "domain_id", "found_through")


@click.command("search")
@click.argument("terms", nargs=-1, metavar="TERM…")
@term_file_options
@click.option("-k", default=10, type=click.IntRange(min=1), help="Concepts per term.")
@click.option(
    "--explain", is_flag=True, help="Give reasons for each concept; with --dense, the search method."
)
@site_option
@also_space_option
@prefer_option
@dense_options
@query_file_options
@filter_options
@format_option
def command(
    terms: tuple[str, ...],
    term_file: tuple[Path, ReadOptions] | None,
    k: int,
    explain: bool,
    site: str,
    also_spaces: tuple[str, ...] | None,
    prefer: tuple[str, ...],
    dense: DenseOptions | None,
    query_files: QueryFiles | None,
    format_: str,
    concept_filter: ConceptFilter,
) -> int:
    """Find the concepts that each TERM may mean, ranked as omop-emb map ranks them.

    Abbreviations are expanded, spelling may differ, and each concept comes with the reason why it was found.
    A concept id, VOCABULARY:CODE or an unambiguous code is looked up; one that does not exist is reported,
    never searched as text.

    \b
    omop-emb search HTN "heart attack"
    omop-emb search "heart attack" --domain Condition -k 3 --format json
    omop-emb search "water tablets" --domain Drug --explain
    omop-emb search "metformin 500 mg" --prefer drug=ingredient
    omop-emb search 4329847 SNOMED:22298006
    omop-emb search "heart attack" --any
    omop-emb search --file terms.txt --format csv > hits.csv
    omop-emb search --file terms.xlsx --sheet Lab --name-column TEST
    omop-emb search "high blood pressure" --dense --exact --explain
    omop-emb search --image panel.jpg --domain Device
    omop-emb search GLUC --file-part dictionary.pdf#page=12
    """
    if (dense is not None or query_files is not None) and _is_given("site"):
        what = "--dense leaves" if query_files is None else "a search with files leaves"
        raise click.UsageError(f"--site chooses approvals and a ranker, which {what} out: drop one")
    if query_files is not None and term_file is not None:
        raise click.UsageError(
            "--file has many queries, but --image and --file-part make a single one: use only one of them"
        )
    if (dense is not None or query_files is not None) and also_spaces:
        raise click.UsageError("--dense and files only search the active space: drop --also-space")
    if (dense is not None or query_files is not None) and prefer:
        raise click.UsageError(
            "--prefer changes the ranker's order, but --dense and files use no ranker: drop it"
        )
    config.one_blas_thread()
    if query_files is not None:
        rows = search_with_files(terms, query_files, dense, k, concept_filter, explain=explain)
        _show(rows, 1, format_, explain=explain, is_dense=True)
        return 0
    every_term = (*terms, *_terms_of(term_file))
    if not every_term:
        raise click.UsageError('give at least one term, such as omop-emb search "heart attack"')
    if dense is not None:
        rows, missing = search_vectors(every_term, dense, k, concept_filter, explain=explain)
    else:
        rows, missing = _search(
            every_term,
            k,
            concept_filter,
            site,
            also_spaces,
            prefer,
            explain=explain,
            talk=len(terms) if not term_file else 0,
        )
    for reason in missing:
        echo(f"error: {reason}")
    _show(rows, len(every_term), format_, explain=explain, is_dense=dense is not None)
    if not missing:
        return 0
    return 3 if len(missing) < len(set(every_term)) else 1


def _is_given(parameter: str) -> bool:
    return click.get_current_context().get_parameter_source(parameter) is not ParameterSource.DEFAULT


def _show(rows: list[dict[str, Any]], terms: int, format_: str, *, explain: bool, is_dense: bool) -> None:
    # One term need not be repeated in each of its rows.
    optional = (*(("query",) if terms == 1 else ()), *(_DENSE_OPTIONAL if is_dense else _OPTIONAL))
    if is_dense:
        shown = _DENSE_TABLE_COLUMNS if format_ == "table" else ("query", "rank", *MATCH_COLUMNS)
        render(rows, shown, format_, optional=optional)
        return
    if format_ != "table":
        render(rows, (*_COLUMNS, *(_REASONS if explain else ())), format_)
        return
    is_calibrated = any(row["probability"] is not None for row in rows)
    render(
        rows,
        [name for name in _TABLE_COLUMNS if is_calibrated or name != "probability"],
        format_,
        optional=optional,
    )
    for row in rows if explain else ():
        reasons = [
            f"{word} {row[name]}"
            for word, name in zip(("for", "against"), _REASONS, strict=True)
            if row[name]
        ]
        echo(f"{row['rank']} {row['concept_id']} {row['concept_name']}: {'; '.join(reasons) or 'no reasons'}")


def _search(
    terms: Sequence[str],
    k: int,
    concept_filter: ConceptFilter,
    site: str,
    also_spaces: Sequence[str] | None,
    prefer: Sequence[str],
    *,
    explain: bool,
    talk: int,
) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows to show, and why some of the terms are no ids or codes; `talk`: terms that a person typed."""
    from omop_emb.database import engine_scope
    from omop_emb.service import ConceptFinder

    with engine_scope() as engine, ConceptFinder(engine, site=site, also_spaces=also_spaces) as finder:
        answers = finder.find_all(terms, concept_filter=concept_filter, k=k, explain=explain, prefer=prefer)
    for line in dict.fromkeys(_talk(answers, of_terms=bool(talk))):
        echo(line)
    missing = dict.fromkeys(note for answer in answers if answer.is_missing for note in answer.notes)
    return [_row(answer, hit) for answer in answers for hit in answer.concepts], list(missing)


def _talk(answers: Sequence[FoundConcepts], *, of_terms: bool) -> Iterator[str]:
    """What to say before the rows; of a file's terms nothing is said one by one."""
    for answer in answers:
        if not answer.is_missing:
            yield from answer.notes
        if of_terms and len(answer.expansions) > 1:
            yield f"{answer.query!r} may mean: {', '.join(answer.expansions)}"
        if of_terms and answer.suggestions:
            yield f"{answer.query!r}: did you mean {' or '.join(map(repr, answer.suggestions))}?"


def _row(answer: FoundConcepts, hit: FoundConcept) -> dict[str, Any]:
    similarity = hit.similarity
    return {
        "query": answer.query,
        **asdict(hit.concept),
        "rank": hit.rank,
        "matched_text": hit.candidate.matched_text,
        "distance": None if similarity is None else 1 - similarity,
        "similarity": similarity,
        "probability": hit.probability,
        "score": hit.score,
        "found_through": hit.found_through,
        "maps_to": "; ".join(f"{concept.concept_id} {concept.concept_name}" for concept in hit.maps_to),
        "speaks_for": hit.speaks_for,
        "speaks_against": hit.speaks_against,
    }


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
