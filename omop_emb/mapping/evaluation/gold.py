"""Gold terms: source terms with the concepts that people chose, to measure mapping and to learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from omop_emb.errors import InputError, ProviderError
from omop_emb.mapping.approvals.approved_file import ApprovedFile, read_approved
from omop_emb.mapping.approvals.reviewed_table import ApprovedColumns
from omop_emb.mapping.judge.translation_job import TranslationJob, translate_terms
from omop_emb.mapping.records import SourceTerm
from omop_emb.mapping.retrieval.lexicon import Lexicon


@dataclass(frozen=True, kw_only=True)
class GoldTerm:
    """A source term and the concepts that a person chose."""

    term: SourceTerm
    targets: frozenset[int]  # concept ids; empty if the person found no match
    source: str  # the file, or the value of its source column


@dataclass(frozen=True, kw_only=True)
class GoldFile:
    """The content of gold files."""

    terms: tuple[GoldTerm, ...]  # in their order, one per source, code and name
    problems: tuple[str, ...]  # a line for each row that could not be used
    notes: tuple[str, ...]  # a line for each file: what says that its rows are approved
    digests: dict[str, str]  # SHA-256 by file name


def read_gold(
    paths: Iterable[str | Path], columns: ApprovedColumns | None = None, *, whole_tables: bool = False
) -> GoldFile:
    """The terms that a person approved, each with its concepts; see read_approved().

    Args:
        paths: of the files.
        columns: how they are read.
        whole_tables: whether every row counts of a table that does not say what was approved: only to
            measure, where nothing is learned from it.

    Raises:
        InputError: a file cannot be read, does not say what was approved, or nothing in it is.
    """
    columns = columns or ApprovedColumns()
    reading = replace(columns, all_approved=columns.all_approved or whole_tables)
    files = {Path(path).name: read_approved(path, reading) for path in paths}
    if columns.all_approved and all(file.says_so for file in files.values()):
        raise InputError("--all-approved has no effect here: the files themselves say what was approved")
    terms: dict[tuple[str, str, str], GoldTerm] = {}
    for file in files.values():
        for mapping in file.approved:
            # A name with nothing but a value or a unit is no term without a match.
            has_only_values = bool(mapping.targets) and not any(one.is_mapping for one in mapping.targets)
            if mapping.term.name.strip() and not has_only_values:
                key = (mapping.source, *mapping.key)
                targets = frozenset(one.concept_id for one in mapping.targets if one.is_mapping)
                earlier = terms.get(key)
                terms[key] = GoldTerm(
                    term=mapping.term if earlier is None else earlier.term,
                    targets=targets if earlier is None else targets | earlier.targets,
                    source=mapping.source,
                )
    if not terms:
        raise InputError("these files have no approved mapping with a source name")
    return GoldFile(
        terms=tuple(terms.values()),
        problems=tuple(_lines(files)),
        notes=tuple(file.note for file in files.values()),
        digests={name: file.digest for name, file in files.items()},
    )


def translated(
    gold: GoldFile,
    job: TranslationJob | None,
    *,
    on_message: Callable[[str], None],
    confirm: Callable[[str], bool],
) -> GoldFile:
    """Gold terms with translations; without a job as they are.

    Args:
        gold: the terms.
        job: the model that translates, and its limits.
        on_message: called with each line for the user.
        confirm: asked before the model is, with the expected cost.

    Raises:
        ProviderError: the model gave up or translated nothing: what is measured would say nothing about it.
        InputError: `confirm` returned False.
    """
    if job is None:
        return gold

    def agreed(question: str) -> bool:
        if not confirm(question):
            raise InputError("nothing was sent: leave out --translate to continue without translations")
        return True

    failures: list[str] = []
    add_translation = translate_terms(
        job,
        lambda: (one.term for one in gold.terms),
        on_message=on_message,
        on_failure=failures.append,
        confirm=agreed,
    )
    if failures:
        raise ProviderError(failures[0])
    return replace(gold, terms=tuple(replace(one, term=add_translation(one.term)) for one in gold.terms))


def _lines(files: dict[str, ApprovedFile]) -> Iterator[str]:
    for name, file in files.items():
        yield from (f"{name}, {problem}" for problem in file.problems)
        if more := file.problems.total - len(file.problems):
            yield f"{name}: {more:,} more such rows"


ResolvedTerm = tuple[GoldTerm, frozenset[int]]
"""A gold term, and the rows of its targets in a lexicon."""


def resolve_targets(lexicon: Lexicon, terms: Iterable[GoldTerm]) -> list[ResolvedTerm]:
    """Terms with the rows of the standard concepts that their targets are or map to.

    The rows are empty if the vocabulary has none of the targets: no match. Terms whose targets it has, but
    none of which leads to a standard concept, are left out: they say nothing about mapping.
    """
    in_vocabulary = set(lexicon.code_table.concept_id.tolist())
    in_vocabulary.update(lexicon.targets.concept_id.tolist(), lexicon.concept_id.tolist())
    resolved = []
    for gold in terms:
        rows = frozenset(row for target in gold.targets for _, row in lexicon.standard_targets(target))
        if rows or not any(target in in_vocabulary for target in gold.targets):
            resolved.append((gold, rows))
    return resolved
