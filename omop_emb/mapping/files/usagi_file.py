"""Usagi's mapping file: source codes with their states and targets, one code's rows side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from omop_emb.errors import InputError
from omop_emb.mapping.files.columns import Columns, read_frequency
from omop_emb.mapping.files.delimited import Problem, TextRow, read_rows
from omop_emb.mapping.files.encoding import open_text
from omop_emb.mapping.files.usagi_dialect import UsagiDialect, detect_dialect, line_end, split_line
from omop_emb.mapping.records import SourceTerm

if TYPE_CHECKING:
    from omop_emb.mapping.files.input_file import InputFile

ADD_INFO = "ADD_INFO:"
REQUIRED = ("sourceCode", "sourceName", "sourceFrequency", "matchScore", "mappingStatus", "conceptId")
STATUSES = frozenset(
    {"APPROVED", "UNCHECKED", "AUTO_MAPPED", "AUTO_MAPPED_TO_1", "INVALID_TARGET", "IGNORED", "FLAGGED"}
)
# What Usagi suggested by itself, or lost: the states in which a person has decided nothing.
UNDECIDED = frozenset({"UNCHECKED", "INVALID_TARGET"})
OLD_MAPPING_TYPES = {"EVENT": "MAPS_TO", "VALUE": "MAPS_TO_VALUE", "UNIT": "MAPS_TO_UNIT"}
_SAMPLE_LINES = 5_000
_BLANK = "a blank line"


@dataclass(frozen=True, slots=True)
class UsagiTarget:
    """A concept that a source code is mapped to, and how: MAPS_TO, MAPS_TO_VALUE or MAPS_TO_UNIT."""

    concept_id: int
    mapping_type: str = "MAPS_TO"


@dataclass(frozen=True)
class UsagiMapping:
    """A source code with its state and targets: adjacent rows with the same code and name.

    Attributes:
        line: of its first row.
        rows: values by header, a row a target; without a target one row with concept id 0.
        raw: its text in the file, with line ends.
        problem: why it cannot be used, "" if it can; its text is kept all the same.
    """

    line: int
    rows: tuple[Mapping[str, str], ...]
    raw: str
    problem: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Code and name."""
        return self.rows[0].get("sourceCode", ""), self.rows[0].get("sourceName", "")

    @property
    def status(self) -> str:
        """One of STATUSES, such as APPROVED or UNCHECKED."""
        return self.rows[0]["mappingStatus"]

    @property
    def is_undecided(self) -> bool:
        """Whether no person has decided about it: these are the terms to map."""
        return not self.problem and self.status in UNDECIDED

    @property
    def judge(self) -> str:
        """A judge's answer and reason, as omop-emb writes them; "" for none."""
        row = self.rows[0]
        return row.get(f"{ADD_INFO}judge (omop-emb)") or row.get(f"{ADD_INFO}judge", "")

    @property
    def targets(self) -> tuple[UsagiTarget, ...]:
        """Its targets; none for concept id 0."""
        return tuple(
            UsagiTarget(int(row["conceptId"]), _mapping_type(row))
            for row in self.rows
            if int(row["conceptId"]) != 0
        )


class UsagiFile:
    """A file that Usagi saved; read as often as need be.

    Attributes:
        headers: its columns.
        dialect: how it quotes values.
        line_end: of its first line.
        old_mapping_types: whether it says EVENT for MAPS_TO, as Usagi did before 1.4.3.
        notes: what a person should know about how it was understood.
    """

    def __init__(self, source: InputFile, encoding: str) -> None:
        """Read the header and find the dialect.

        Raises:
            InputError: a column that Usagi cannot do without is missing.
        """
        self._source, self._encoding = source, encoding
        self.notes: list[str] = []
        with open_text(source, encoding) as text:
            sample = list(islice(text, _SAMPLE_LINES))
        self.dialect = detect_dialect(sample)
        self.line_end = line_end(sample[0]) or "\n"
        self.headers = split_line(sample[0].rstrip("\r\n"))
        if missing := [name for name in REQUIRED if name not in self.headers]:
            raise InputError(f"{source.name} is not a file that Usagi saved: no column {', '.join(missing)}")
        if self.dialect is UsagiDialect.RFC4180:
            self.notes.append("quotes are doubled as in RFC 4180, not as Usagi writes them; kept so")
        if encoding not in {"utf-8", "utf-8-sig"}:
            self.notes.append(f"the file is {encoding}; what is written is UTF-8, which Usagi expects")

    @cached_property
    def old_mapping_types(self) -> bool:
        """Whether a row says EVENT, VALUE or UNIT."""
        return any(
            row.get("mappingType") in OLD_MAPPING_TYPES for mapping in self.mappings() for row in mapping.rows
        )

    def mappings(self) -> Iterator[UsagiMapping]:
        """All source codes in the order of the file; nothing is left out: rows that make no sense say why."""
        group: list[tuple[TextRow, dict[str, str]]] = []
        for row in self._rows():
            cells, problem = self._cells(row)
            if problem:
                yield from _grouped(group)
                group = []
                yield UsagiMapping(row.line, (cells,), row.raw, problem)
                continue
            if group and _identity(group[-1][1]) != _identity(cells):
                yield from _grouped(group)
                group = []
            group.append((row, cells))
        yield from _grouped(group)

    def terms(
        self,
        columns: Columns,
        report: Callable[[Problem], None],
        *,
        source_vocabulary: str | None = None,
    ) -> Iterator[SourceTerm]:
        """The terms that no person has decided about; rows that make no sense are reported."""
        for mapping in self.mappings():
            if mapping.problem == _BLANK:
                continue
            if mapping.problem:
                report(Problem(mapping.line, mapping.problem))
            elif mapping.is_undecided:
                term = as_term(mapping, columns, source_vocabulary=source_vocabulary)
                if term.name.strip() or (term.code and term.source_vocabulary):
                    yield term
                else:
                    report(Problem(mapping.line, "no source name"))

    def _rows(self) -> Iterator[TextRow]:
        with open_text(self._source, self._encoding) as text:
            if self.dialect is UsagiDialect.RFC4180:
                broken: list[Problem] = []
                rows = read_rows(text, ",", broken.append)
                next(rows, None)
                for row in rows:
                    yield from (TextRow(problem.line, [problem.reason]) for problem in broken)
                    broken.clear()
                    yield row
                yield from (TextRow(problem.line, [problem.reason]) for problem in broken)
                return
            for number, line in enumerate(islice(text, 1, None), start=2):
                yield TextRow(number, split_line(line.rstrip("\r\n")), line)

    def _cells(self, row: TextRow) -> tuple[dict[str, str], str]:
        """A row's values by header, and what is wrong with it."""
        cells = dict(zip(self.headers, row.values, strict=False))
        if len(row.values) != len(self.headers):
            if not row.raw:
                return {}, row.values[0]
            if not row.raw.strip():
                return {}, _BLANK
            return cells, f"{len(row.values)} values where the header has {len(self.headers)}"
        if cells["mappingStatus"] not in STATUSES:
            return cells, "a mappingStatus that Usagi does not know"
        if not _is_whole(cells["conceptId"]):
            return cells, "the conceptId is not a whole number"
        if "\0" in row.raw:
            return cells, "a value has a NUL character in it"
        return cells, ""


def is_usagi_header(headers: Sequence[str]) -> bool:
    """Whether a header is that of a file that Usagi saved."""
    return {"sourceCode", "sourceName", "mappingStatus", "conceptId"} <= {name.strip() for name in headers}


def usagi_columns(asked: Columns) -> Columns:
    """Usagi's own columns; further names, domain, vocabulary and context only where they are asked for."""
    return replace(
        asked,
        names=asked.names or ("sourceName",),
        code=asked.code or "sourceCode",
        frequency=asked.frequency or "sourceFrequency",
    )


def as_term(mapping: UsagiMapping, columns: Columns, *, source_vocabulary: str | None = None) -> SourceTerm:
    """A source code of Usagi's as a source term; its ADD_INFO columns become extra ones."""
    row = mapping.rows[0]
    names = [row[name] for name in columns.names if row[name].strip()]
    try:
        frequency = read_frequency(row.get(columns.frequency or "", ""))
    except InputError:
        frequency = None  # Usagi writes -1 where it knows none
    vocabulary = row[columns.source_vocabulary].strip() if columns.source_vocabulary else ""
    return SourceTerm(
        name=names[0] if names else "",
        code=row["sourceCode"],
        frequency=frequency,
        domain=(row[columns.domain].strip() or None) if columns.domain else None,
        further_names=tuple(dict.fromkeys(name for name in names[1:] if name != names[0])),
        source_vocabulary=vocabulary or source_vocabulary,
        context={name: row[name] for name in columns.context},
        extra={
            header.removeprefix(ADD_INFO): value
            for header, value in row.items()
            if header.startswith(ADD_INFO)
        },
        line=mapping.line,
    )


def _identity(cells: Mapping[str, str]) -> tuple[str, str, str]:
    return cells["sourceCode"], cells["sourceName"], cells.get("sourceValueCode", "")


def _grouped(group: Sequence[tuple[TextRow, dict[str, str]]]) -> Iterator[UsagiMapping]:
    if group:
        yield UsagiMapping(
            group[0][0].line, tuple(cells for _, cells in group), "".join(row.raw for row, _ in group)
        )


def _mapping_type(row: Mapping[str, str]) -> str:
    written = row.get("mappingType") or "MAPS_TO"
    return OLD_MAPPING_TYPES.get(written, written)


def _is_whole(text: str) -> bool:
    stripped = text.strip()
    return stripped.isascii() and stripped.removeprefix("-").isdigit()
