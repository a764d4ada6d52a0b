"""Terms made of several columns."""

from __future__ import annotations

import pytest

from omop_emb.errors import InputError
from omop_emb.mapping.files.columns import Columns, read_concept_ids, resolve_columns
from omop_emb.mapping.files.name_template import NameTemplate

HEADERS = ["A", "B", "C", "Lab.Name", "Value [mmol]", "Time:UTC"]


def _fill(template: str, **cells: str) -> str:
    made = resolve_columns(HEADERS, Columns(template=template)).template
    assert isinstance(made, NameTemplate)
    return made.fill({**dict.fromkeys(HEADERS, ""), **cells})


@pytest.mark.parametrize(
    ("template", "cells", "name"),
    [
        ("{A} in {B}", {"A": "sodium", "B": "blood"}, "sodium in blood"),
        ("{A} in {B}", {"A": "sodium", "B": "  "}, "sodium"),
        ("{A} in {B}", {"B": "blood"}, "blood"),
        ("{A} in {B}", {}, ""),
        ("{A} {B}", {"A": " sodium ", "B": "blood"}, "sodium blood"),
        ("{A} ({B}) in {C}", {"A": "x", "B": "y", "C": "z"}, "x (y) in z"),
        ("{A} ({B}) in {C}", {"A": "x", "C": "z"}, "x in z"),
        ("{A} ({B}) in {C}", {"A": "x", "B": "y"}, "x (y)"),
        ("{A} in {B} ({C})", {"A": "x", "B": "y"}, "x in y"),
        ("{A} in {B} ({C})", {"A": "x", "C": "z"}, "x (z)"),
        ("{A} in {B} ({C})", {"C": "z"}, "(z)"),
        ("{A}, {B}, {C}", {"A": "x", "C": "z"}, "x, z"),
        ("history of {A}", {"A": "asthma"}, "history of asthma"),
        ("history of {A}", {}, ""),
        ("{A} level", {"A": "iron"}, "iron level"),
        ("{a} {{x}} {b}", {"A": "1", "B": "2"}, "1 {x} 2"),
        ("{Lab.Name}", {"Lab.Name": "glucose"}, "glucose"),
        ("{Value [mmol]}", {"Value [mmol]": "3"}, "3"),
        ("{Time:UTC}", {"Time:UTC": "noon"}, "noon"),
        ("{A}", {"A": "{B} %s {0}"}, "{B} %s {0}"),
    ],
)
def test_a_template_is_filled_and_the_text_around_an_empty_column_left_out(
    template: str, cells: dict[str, str], name: str
) -> None:
    assert _fill(template, **cells) == name


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{LABLE}", "there is no column 'LABLE'"),
        ("{A.__class__}", "there is no column 'A.__class__'"),
        ("{A!r}", "there is no column 'A!r'"),
        ("{A:>10}", "there is no column 'A:>10'"),
        ("{A[0]}", "there is no column 'A"),
        ("{}", "there is no column ''"),
        ("{A", "is not understood"),
        ("A}", "is not understood"),
        ("sodium", "names no column"),
        ("", "names no column"),
    ],
)
def test_a_template_that_names_no_column_of_the_file_is_refused(template: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        _fill(template)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("cell", "ids"),
    [
        ("", ()),
        ("1", (1,)),
        ("1|2", (1, 2)),
        ("1; 2,3 4", (1, 2, 3, 4)),
        ("317009.0", (317009,)),
        ("0", ()),
        ("1|1", (1,)),
        ("I10", (-1,)),
        ("-5", (-1,)),
        ("99999999999", (-1,)),
        ("2147483647", (2147483647,)),
        ("2147483648", (-1,)),
        ("437663|3000000000", (437663, -1)),
        ("3000000000.0", (-1,)),
    ],
)
def test_suggested_ids_are_read_as_programs_write_them(cell: str, ids: tuple[int, ...]) -> None:
    assert read_concept_ids(cell) == ids
