"""Source terms with the concepts that people chose for them: what mapping is measured on and learns from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from omop_emb.errors import InputError
from omop_emb.mapping.approvals.reuse import MAP_HEADERS, read_approved
from omop_emb.mapping.files.columns import Columns
from omop_emb.mapping.files.delimited import Problem
from omop_emb.mapping.files.input_file import InputFile
from omop_emb.mapping.files.term_file import FileKind, ReadOptions, TermFile
from omop_emb.mapping.records import SourceTerm
from omop_emb.mapping.retrieval.lexicon import Lexicon

TARGET_HEADERS = ("targetconceptids", "targetconceptid", "conceptids", "conceptid", "omopconceptid")
"""Headers of the column with the chosen concepts, without case and punctuation; the first is taken."""

_SPLIT = re.compile(r"[|;,\s]+")


@dataclass(frozen=True, kw_only=True)
class GoldTerm:
    """A source term and what a person mapped it to.

    Attributes:
        term: the source term.
        targets: concept ids; empty where the person found that there is none.
        source: the file, or the value of its source column: where it is from.
    """

    term: SourceTerm
    targets: frozenset[int]
    source: str


@dataclass(frozen=True, kw_only=True)
class GoldFile:
    """What was read from files.

    Attributes:
        terms: in their order, each once for its source, code and name.
        problems: (file, row) that could not be used.
        digests: file -> SHA-256 of its bytes.
    """

    terms: tuple[GoldTerm, ...]
    problems: tuple[tuple[str, Problem], ...]
    digests: dict[str, str]


def read_gold(
    paths: Iterable[str | Path],
    *,
    columns: Columns | None = None,
    target_column: str | None = None,
    source_column: str | None = None,
) -> GoldFile:
    """Approved mappings: Usagi's file, source_to_concept_map, or a table with a column of concept ids.

    Of Usagi's file what is APPROVED; of a table, several ids stand in one cell with "|" between them or in
    several rows, and an empty cell or 0 says that there is no match.

    Args:
        paths: files; each is a source unless a column says otherwise.
        columns: of a table, by role.
        target_column: of a table; None: recognised.
        source_column: of a table: the hospital or system that a row is from.

    Raises:
        InputError: a file cannot be read, or has no column with concept ids.
    """
    found: dict[tuple[str, str, str], GoldTerm] = {}
    problems: list[tuple[str, Problem]] = []
    digests: dict[str, str] = {}
    for path in paths:
        name = Path(path).name
        with InputFile(path) as source, TermFile(source, ReadOptions(columns=columns or Columns())) as file:
            digests[name] = source.digest()
            if file.kind is FileKind.USAGI or set(file.headers) >= MAP_HEADERS:
                rows = _approved(path, name, problems)
            else:
                rows = _table(file, name, target_column, source_column, problems)
        for row in rows:
            key = (row.source, *row.term.key)
            known = found.get(key)
            targets = row.targets | known.targets if known else row.targets
            found[key] = GoldTerm(term=known.term if known else row.term, targets=targets, source=row.source)
    if not found:
        raise InputError("there is no approved mapping to learn from or to measure on in these files")
    return GoldFile(terms=tuple(found.values()), problems=tuple(problems), digests=digests)


def _approved(path: str | Path, name: str, problems: list[tuple[str, Problem]]) -> list[GoldTerm]:
    mappings, wrong = read_approved(path)
    problems.extend((name, problem) for problem in wrong)
    return [
        GoldTerm(
            term=SourceTerm(
                name=text,
                code=code,
                line=mapping.line,
                extra={"judge": mapping.judge} if mapping.judge else {},
            ),
            targets=frozenset(target.concept_id for target in mapping.targets),
            source=name,
        )
        for (code, text), mapping in mappings.items()
        if text.strip()
    ]


def _table(
    file: TermFile,
    name: str,
    target_column: str | None,
    source_column: str | None,
    problems: list[tuple[str, Problem]],
) -> list[GoldTerm]:
    by_key = {re.sub(r"[\W_]+", "", header).casefold(): header for header in reversed(file.headers)}
    target = target_column or next((by_key[key] for key in TARGET_HEADERS if key in by_key), None)
    for asked in (target, source_column):
        if asked is not None and asked not in file.headers:
            raise InputError(f"{name} has no column {asked!r}; found {', '.join(file.headers)}")
    if target is None:
        raise InputError(
            f"{name} has no column with concept ids, such as target_concept_ids or concept_id: name it with "
            "--target-column"
        )
    result = []
    for term in file:
        cell = term.extra.get(target, "").strip()
        ids = [part for part in _SPLIT.split(cell) if part]
        if not all(part.isdecimal() for part in ids):
            problems.append((name, Problem(term.line or 0, f"{target} holds no concept ids")))
        elif term.name.strip():
            source = term.extra.get(source_column, "") if source_column else name
            targets = frozenset(int(part) for part in ids if int(part))
            result.append(GoldTerm(term=term, targets=targets, source=source or name))
    problems.extend((name, problem) for problem in file.problems)
    return result


class Targets:
    """Resolves chosen concepts against a vocabulary."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._known = {concept_id for ids in lexicon.by_code.values() for concept_id in ids}
        self._known.update(lexicon.targets.concept_id.tolist(), lexicon.concept_id.tolist())

    def rows(self, targets: Iterable[int]) -> frozenset[int] | None:
        """Rows of the standard concepts that are meant, `Maps to` followed.

        Empty where the vocabulary knows none of them: no match. None where it knows them, but nothing
        standard that they lead to: such a term says nothing about mapping.
        """
        listed = list(targets)
        rows = frozenset(row for target in listed for _, row in self._lexicon.standard_targets(target))
        if not rows and any(target in self._known for target in listed):
            return None
        return rows
