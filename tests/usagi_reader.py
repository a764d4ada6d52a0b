"""Usagi's reader, written again from its Java source for the tests: what it accepts, and what it makes of it.

Source: OHDSI/Usagi af3f5ee, ReadCodeMappingsFromFile, SourceCode, MappingTarget, ReadCSVFile and Row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

STATUSES = (
    "APPROVED UNCHECKED AUTO_MAPPED AUTO_MAPPED_TO_1 INVALID_TARGET FLAGGED IGNORED".split()
)  # CodeMapping.MappingStatus
EQUIVALENCES = "EQUAL EQUIVALENT WIDER NARROWER INEXACT UNMATCHED UNREVIEWED".split()
TYPES = "MAPS_TO MAPS_TO_VALUE MAPS_TO_UNIT MAPS_TO_OPERATOR MAPS_TO_TYPE MAPS_TO_NUMBER".split()
_OLD_TYPES = {"EVENT": "MAPS_TO", "VALUE": "MAPS_TO_VALUE", "UNIT": "MAPS_TO_UNIT"}


_AFTER = (
    "matchScore mappingStatus equivalence statusSetBy statusSetOn conceptId conceptName domainId mappingType "
    "comment createdBy createdOn assignedReviewer"
).split()


class UsagiError(Exception):
    """What Usagi shows as "Invalid File Format", or what stops it with a stack trace."""


@dataclass
class Target:
    """A MappingTarget."""

    concept_id: int
    mapping_type: str
    created_by: str
    created_on: int


@dataclass
class CodeMapping:
    """A CodeMapping with its SourceCode."""

    code: str
    name: str
    frequency: int
    auto_assigned: set[int]
    additional: dict[str, str]
    score: float
    status: str
    status_set_by: str
    status_set_on: int
    equivalence: str
    assigned_reviewer: str
    comment: str
    targets: list[Target] = field(default_factory=list)


def read_usagi(content: bytes, known: Collection[int] | None = None) -> list[CodeMapping]:
    """The mappings as Usagi would have them; `known`: the concepts of its index, None for all.

    Raises:
        UsagiError: Usagi would not open the file.
    """
    try:
        lines = _read_lines(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UsagiError("not UTF-8: Java would replace letters") from error
    columns: dict[str, int] = {}
    for header in _line_to_columns(lines[0]):
        columns[header] = len(columns)  # a repeated header shifts all that follow, as in Java
    if len(columns) != len(_line_to_columns(lines[0])):
        raise UsagiError("a repeated header")
    rows = [_Row(_line_to_columns(line), columns) for line in lines[1:]]
    return list(_mappings(rows, known))


def save_usagi(mappings: list[CodeMapping]) -> bytes:
    """The file that Usagi would save: WriteCodeMappingsToFile, with the names of concepts left empty."""
    additional = [f"ADD_INFO:{name}" for name in mappings[0].additional]
    lines = [
        ["sourceCode", "sourceName", "sourceFrequency", "sourceAutoAssignedConceptIds", *additional, *_AFTER]
    ]
    for one in mappings:
        for target in one.targets or [Target(0, "MAPS_TO", "", 0)]:
            assigned = ";".join(map(str, one.auto_assigned))
            said = [
                f"{one.score:.2f}",
                one.status,
                one.equivalence,
                one.status_set_by,
                str(one.status_set_on),
            ]
            concept = [str(target.concept_id), "", "", target.mapping_type]
            made = [one.comment, target.created_by, str(target.created_on), one.assigned_reviewer]
            source = [one.code, one.name, str(one.frequency), assigned, *one.additional.values()]
            lines.append([*source, *said, *concept, *made])
    return "".join(",".join(map(_column, line)) + "\n" for line in lines).encode()


def _column(text: str) -> str:
    """WriteCSVFile.columns2line()."""
    written = text.replace("\\", "\\\\").replace('"', '""').replace("\r", "").replace("\n", "\\n")
    return f'"{written}"' if '"' in text or "," in written else written


def _mappings(rows: list[_Row], known: Collection[int] | None) -> Iterator[CodeMapping]:
    place = 0
    while place < len(rows):
        row = rows[place]
        mapping = _code_mapping(row)
        while place < len(rows) and (_source(rows[place])[:2] == (mapping.code, mapping.name)):
            row = rows[place]
            concept_id = row.integer("conceptId")
            if concept_id != 0:
                if known is not None and concept_id not in known:
                    mapping.status = "INVALID_TARGET"
                    mapping.comment = f"Invalid existing target: {concept_id}"
                else:
                    written = row.get("mappingType", "MAPS_TO")
                    mapping_type = _OLD_TYPES.get(written, written)
                    if mapping_type not in TYPES:
                        raise UsagiError(f"no enum constant MappingTarget.Type.{mapping_type}")
                    created = row.get("createdBy", ""), row.long("createdOn", "0")
                    mapping.targets.append(Target(concept_id, mapping_type, *created))
            place += 1
        yield mapping


def _code_mapping(row: _Row) -> CodeMapping:
    code, name, frequency, auto_assigned, additional = _source(row)
    status, equivalence = row.get("mappingStatus"), row.get("equivalence", "UNREVIEWED")
    if status not in STATUSES:
        raise UsagiError(f"no enum constant MappingStatus.{status}")
    if equivalence not in EQUIVALENCES:
        raise UsagiError(f"no enum constant Equivalence.{equivalence}")
    return CodeMapping(
        code=code,
        name=name,
        frequency=frequency,
        auto_assigned=auto_assigned,
        additional=additional,
        score=row.double("matchScore", "0"),
        status=status,
        status_set_by=row.get("statusSetBy", ""),
        status_set_on=row.long("statusSetOn", "0"),
        equivalence=equivalence,
        assigned_reviewer=row.get("assignedReviewer", ""),
        comment=row.get("comment", ""),
    )


def _source(row: _Row) -> tuple[str, str, int, set[int], dict[str, str]]:
    assigned = row.get("sourceAutoAssignedConceptIds")
    ids = {_parse_whole(part, 32) for part in _java_split(assigned)} if assigned else set()
    additional = {
        name.removeprefix("ADD_INFO:"): row.get(name) for name in row.names if name.startswith("ADD_INFO:")
    }
    return row.get("sourceCode"), row.get("sourceName"), row.integer("sourceFrequency"), ids, additional


class _Row:
    """org.ohdsi.utilities.files.Row."""

    def __init__(self, cells: list[str], columns: dict[str, int]) -> None:
        self._cells, self._columns = cells, columns

    @property
    def names(self) -> list[str]:
        return list(self._columns)

    def get(self, name: str, default: str | None = None) -> str:
        if name not in self._columns:
            if default is None:
                raise UsagiError(f'Field "{name}" not found')
            return default
        index = self._columns[name]
        if len(self._cells) <= index:
            return ""  # though there is a default
        return self._cells[index] or (default or "")

    def integer(self, name: str) -> int:
        return _parse_whole(self.get(name).strip("".join(map(chr, range(0x21)))), 32)

    def long(self, name: str, default: str) -> int:
        return _parse_whole(self.get(name, default), 64)

    def double(self, name: str, default: str) -> float:
        text = self.get(name, default).strip()
        if not re.fullmatch(r"[+-]?(NaN|Infinity|(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[dDfF]?)", text):
            raise UsagiError(f"NumberFormatException: {text!r}")
        number = float(text.rstrip("dDfF").replace("Infinity", "inf"))
        return 0.0 if math.isnan(number) else number


def _parse_whole(text: str, bits: int) -> int:
    if not re.fullmatch(r"[+-]?\d+", text):
        raise UsagiError(f"NumberFormatException: {text!r}")
    number = int(text)
    if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        raise UsagiError(f"NumberFormatException: {text!r}")
    return number


def _java_split(text: str) -> list[str]:
    parts = text.split(";")
    while parts and not parts[-1]:
        parts.pop()
    return parts


def _read_lines(text: str) -> list[str]:
    r"""BufferedReader.readLine(): \n, \r and \r\n end a line, and nothing else does."""
    lines = re.split(r"\r\n|\n|\r", text)
    return lines[:-1] if lines and not lines[-1] else lines


def _line_to_columns(line: str) -> list[str]:
    columns = []
    for column in _safe_split(line):
        if column.startswith('"') and column.endswith('"') and len(column) > 1:
            column = column[1:-1]
        columns.append(column.replace('""', '"').replace('\\"', '"').replace("\\\\", "\\"))
    return columns


def _safe_split(text: str) -> list[str]:
    """StringUtilities.safeSplit()."""
    result, start, literal, escape = list[str](), 0, False, False
    for place, character in enumerate(text):
        if character == '"' and not escape:
            literal = not literal
        if not literal and character == "," and not escape:
            result.append(text[start:place])
            start = place + 1
        escape = not escape if character == "\\" else False
    result.append(text[start:])
    return result
