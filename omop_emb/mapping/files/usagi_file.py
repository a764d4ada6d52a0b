"""Usagi's mapping file: source codes with their status and targets, a code's rows adjacent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, islice
from typing import TYPE_CHECKING

from omop_emb.errors import InputError
from omop_emb.mapping.files.columns import Columns
from omop_emb.mapping.files.delimited import (
    LINE_TOO_LONG,
    MOST_LINE,
    Problem,
    TextRow,
    bounded_lines,
    first_lines,
    read_rows,
)
from omop_emb.mapping.files.encoding import Encoding, open_text
from omop_emb.mapping.files.frequency import read_frequency
from omop_emb.mapping.files.repair import repair
from omop_emb.mapping.files.usagi_dialect import (
    UsagiDialect,
    detect_dialect,
    join_line,
    join_rfc4180,
    line_end,
    split_line,
)
from omop_emb.mapping.files.usagi_values import MISSING, REQUIRED, as_usagi_writes, usagi_headers
from omop_emb.mapping.records import SourceTerm
from omop_emb.records import MAX_CONCEPT_ID, parse_concept_id

if TYPE_CHECKING:
    from omop_emb.mapping.files.input_file import InputFile
    from omop_emb.mapping.files.table_file import TableFile

ADD_INFO = "ADD_INFO:"
STATUSES = frozenset(
    {"APPROVED", "UNCHECKED", "AUTO_MAPPED", "AUTO_MAPPED_TO_1", "INVALID_TARGET", "IGNORED", "FLAGGED"}
)
# The states in which no person has decided: Usagi suggested a target, or its target became invalid.
UNDECIDED = frozenset({"UNCHECKED", "INVALID_TARGET"})
MAPS_TO = "MAPS_TO"
OLD_MAPPING_TYPES = {"EVENT": MAPS_TO, "VALUE": "MAPS_TO_VALUE", "UNIT": "MAPS_TO_UNIT"}
_SAMPLE_LINES = 5_000
_BLANK = "a blank line"
_CONVERTED = "converted"  # stands for the text of a row that is not Usagi's own


@dataclass(frozen=True, slots=True)
class UsagiTarget:
    """A target of a source code, or with another mapping type, such as MAPS_TO_VALUE, what belongs beside."""

    concept_id: int
    mapping_type: str = MAPS_TO

    @property
    def is_mapping(self) -> bool:
        """Whether it is a target, and no value, unit, operator, number or type."""
        return self.mapping_type == MAPS_TO


@dataclass(frozen=True)
class UsagiMapping:
    """A source code with its status and targets: adjacent rows with the same code and name.

    Attributes:
        line: of its first row.
        rows: values by header, one row per target; without a target one row with concept id 0.
        raw: its text in the file, with line ends.
        problem: why it cannot be used, "" if it can; its text is copied to outputs anyway.
    """

    line: int
    rows: tuple[Mapping[str, str], ...]
    raw: str
    problem: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Code and name."""
        return self.rows[0].get("sourceCode", ""), repair(self.rows[0].get("sourceName", ""))

    @property
    def status(self) -> str:
        """One of STATUSES, such as APPROVED or UNCHECKED."""
        return self.rows[0]["mappingStatus"]

    @property
    def is_undecided(self) -> bool:
        """Whether no person has decided it: these are the terms to map."""
        return not self.problem and self.status in UNDECIDED

    @property
    def judge(self) -> str:
        """The judge's answer and reason, as omop-emb writes them; "" for none."""
        row = self.rows[0]
        return row.get(f"{ADD_INFO}judge (omop-emb)") or row.get(f"{ADD_INFO}judge", "")

    @property
    def targets(self) -> tuple[UsagiTarget, ...]:
        """Its targets, and the values, units … beside them, without concept id 0."""
        return tuple(
            UsagiTarget(concept_id, _mapping_type(row))
            for row in self.rows
            if (concept_id := parse_concept_id(row["conceptId"]))
        )


class UsagiFile:
    """A file that Usagi saved.

    Attributes:
        headers: its columns.
        dialect: how it quotes values.
        line_end: of its first line.
        notes: what the user should know about how it was read.

    Raises:
        InputError: a column that Usagi requires is missing.
    """

    def __init__(
        self, source: InputFile, encoding: Encoding | str = "utf-8", table: TableFile | None = None
    ) -> None:
        """`table`: the same columns in another container, whose rows become lines of Usagi's own CSV."""
        self._source, self._encoding, self._table = source, encoding, table
        self.notes: list[str] = []
        if table is not None:
            self._skipped = int(table.row_numbers is not None)
            self.dialect, self.line_end = UsagiDialect.USAGI, "\n"
            self.headers = usagi_headers(table.headers[self._skipped :])
            self.notes.append("it has Usagi's columns; written for Usagi, it becomes Usagi's own CSV")
            return
        with open_text(source, encoding) as text:
            sample = first_lines(text, _SAMPLE_LINES)
        self.dialect = detect_dialect(sample)
        self.line_end = line_end(sample[0]) or "\n"
        self.headers = split_line(sample[0].rstrip("\r\n"))
        if missing := [name for name in REQUIRED if name not in self.headers]:
            raise InputError(f"{source.name} is not a file that Usagi saved: no column {', '.join(missing)}")
        if self.dialect is UsagiDialect.RFC4180:
            self.notes.append(
                "quotes are doubled as in RFC 4180, not as Usagi writes them; the output does the same"
            )
        name = encoding if isinstance(encoding, str) else encoding.name
        if name not in {"utf-8", "utf-8-sig"}:
            self.notes.append(f"the file is {name}; the output is UTF-8, which Usagi expects")

    @cached_property
    def old_mapping_types(self) -> bool:
        """Whether it says EVENT for MAPS_TO, and so on, as Usagi did before 1.4.3."""
        return any(
            row.get("mappingType") in OLD_MAPPING_TYPES for mapping in self.mappings() for row in mapping.rows
        )

    def mappings(self) -> Iterator[UsagiMapping]:
        """All source codes in the order of the file; unusable rows are mappings with a problem."""
        checked = (self._check(row) for row in self._rows())
        for _, group in groupby(checked, _group_key):
            rows = list(group)
            first, _, problem = rows[0]
            yield UsagiMapping(
                first.line,
                tuple(cells for _, cells, _ in rows),
                "".join(row.raw for row, _, _ in rows),
                problem,
            )

    def terms(
        self,
        columns: Columns,
        report: Callable[[Problem], None],
        *,
        report_value: Callable[[Problem], None] = lambda _problem: None,
        source_vocabulary: str | None = None,
    ) -> Iterator[SourceTerm]:
        """The terms that no person has decided; unusable rows, and values that are not used, are reported."""
        for mapping in self.mappings():
            if mapping.problem == _BLANK:
                continue
            if mapping.problem:
                report(Problem(mapping.line, mapping.problem))
            elif mapping.is_undecided:
                term = source_term(mapping, columns, source_vocabulary, report_value)
                if term.can_be_mapped:
                    yield term
                else:
                    report(Problem(mapping.line, "no source name"))

    def _rows(self) -> Iterator[TextRow]:
        malformed: list[Problem] = []
        if self._table is not None:
            for row in self._table.rows(malformed.append):
                yield from _malformed_rows(malformed)
                own = row.values[self._skipped :]
                padded = own + [MISSING.get(name, "") for name in self.headers[len(own) :]]
                yield TextRow(row.line, padded, raw=_CONVERTED)
            yield from _malformed_rows(malformed)
            return
        with open_text(self._source, self._encoding) as text:
            if self.dialect is UsagiDialect.RFC4180:
                rows = read_rows(bounded_lines(text), ",", malformed.append)
                next(rows, None)
                for row in rows:
                    yield from _malformed_rows(malformed)
                    yield row
                yield from _malformed_rows(malformed)
                return
            for number, line in enumerate(islice(bounded_lines(text), 1, None), start=2):
                if len(line) > MOST_LINE:
                    yield TextRow(number, [LINE_TOO_LONG])
                else:
                    yield TextRow(number, split_line(line.rstrip("\r\n")), line)

    def _check(self, row: TextRow) -> tuple[TextRow, dict[str, str], str]:
        """A row, its values by header, and what is wrong with it ("" for nothing)."""
        cells = dict(zip(self.headers, row.values, strict=False))
        if len(row.values) != len(self.headers):
            if not row.raw:
                return row, {}, row.values[0]  # the reason why it is malformed, see _rows()
            if not row.raw.strip():
                return row, {}, _BLANK
            return row, cells, f"{len(row.values)} values where the header has {len(self.headers)}"
        is_foreign = self._table is None and self.dialect is UsagiDialect.USAGI
        if is_foreign and not cells["mappingStatus"].strip() and not cells["conceptId"].strip():
            return row, cells, "neither a mappingStatus nor a conceptId"
        usable = as_usagi_writes(cells)
        if usable != cells or row.raw == _CONVERTED:
            join = join_line if self.dialect is UsagiDialect.USAGI else join_rfc4180
            row = replace(row, raw=join(list(usable.values())) + self.line_end)
        if usable["mappingStatus"] not in STATUSES:
            return row, usable, "a mappingStatus that Usagi does not know"
        if parse_concept_id(usable["conceptId"]) is None:
            return row, usable, f"the conceptId is not a whole number up to {MAX_CONCEPT_ID}"
        return row, usable, ""


def _malformed_rows(problems: list[Problem]) -> Iterator[TextRow]:
    yield from (TextRow(problem.line, [problem.reason]) for problem in problems)
    problems.clear()


def usagi_columns(requested: Columns) -> Columns:
    """Usagi's own columns; further names, domain, vocabulary and context only if requested.

    Raises:
        InputError: another column of codes or frequencies is requested, which nothing would read.
    """
    for option, own in (("code", "sourceCode"), ("frequency", "sourceFrequency")):
        if getattr(requested, option) not in (None, own):
            raise InputError(
                f"the file has Usagi's columns, so its {option} is {own}: leave out --{option}-column"
            )
    return replace(
        requested,
        names=requested.names or ("sourceName",),
        code=requested.code or "sourceCode",
        frequency=requested.frequency or "sourceFrequency",
    )


def source_term(
    mapping: UsagiMapping,
    columns: Columns,
    source_vocabulary: str | None,
    report_value: Callable[[Problem], None],
) -> SourceTerm:
    """The term of a source code; a frequency that cannot be used is reported."""
    row, frequency = mapping.rows[0], None
    try:
        frequency = read_frequency(row.get("sourceFrequency", ""))
    except InputError as error:
        report_value(Problem(mapping.line, str(error)))
    return columns.term(
        row,
        code=row["sourceCode"],
        frequency=frequency,
        source_vocabulary=source_vocabulary,
        extra={
            name.removeprefix(ADD_INFO): value for name, value in row.items() if name.startswith(ADD_INFO)
        },
        line=mapping.line,
    )


def _group_key(checked: tuple[TextRow, dict[str, str], str]) -> tuple[object, ...]:
    """Equal for the rows of a source code; an unusable row is alone."""
    row, cells, problem = checked
    return (
        (row.line,) if problem else (cells["sourceCode"], cells["sourceName"], cells.get("sourceValueCode"))
    )


def _mapping_type(row: Mapping[str, str]) -> str:
    return OLD_MAPPING_TYPES.get(written := row.get("mappingType") or MAPS_TO, written)
