"""Reading parameters: how a sent file is to be read, as `map`'s options say it on the command line."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from omop_emb.errors import InputError
from omop_emb.mapping.files.columns import Columns
from omop_emb.mapping.files.read_options import ReadOptions

_Header = Annotated[str | None, Query(max_length=500, description="A column's header.")]
_Headers = Annotated[list[str], Query(max_length=50, description="Headers of columns.")]


def _columns(
    name_column: _Headers = [],  # noqa: B006 - FastAPI copies it
    context_column: _Headers = [],  # noqa: B006 - as above
    unused_column: _Headers = [],  # noqa: B006 - as above
    code_column: _Header = None,
    frequency_column: _Header = None,
    domain_column: _Header = None,
    candidate_column: _Header = None,
    source_vocabulary_column: _Header = None,
    name_template: Annotated[
        str | None, Query(max_length=500, description='The term of several columns: "{LABEL} in {FLUID}".')
    ] = None,
) -> Columns:
    return Columns(
        names=tuple(filter(None, name_column)),
        code=code_column or None,
        frequency=frequency_column or None,
        domain=domain_column or None,
        source_vocabulary=source_vocabulary_column or None,
        context=tuple(filter(None, context_column)),
        template=name_template or None,
        suggestions=candidate_column or None,
        unused=tuple(filter(None, unused_column)),
    )


def _reading(
    columns: Annotated[Columns, Depends(_columns)],
    source_vocabulary: Annotated[
        str | None, Query(max_length=200, description="OMOP vocabulary in which to look the codes up.")
    ] = None,
    encoding: Annotated[str | None, Query(max_length=40, description="Of a text file.")] = None,
    separator: Annotated[str | None, Query(max_length=10, description="Of a text file.")] = None,
    sheet: Annotated[str | None, Query(max_length=100, description="Of a workbook.")] = None,
    header_row: Annotated[int | None, Query(ge=0, le=1_000, description="0 for none.")] = None,
) -> ReadOptions:
    return ReadOptions(
        columns=columns,
        encoding=encoding or None,
        separator=separator or None,
        sheet=sheet or None,
        header_row=header_row,
        source_vocabulary=source_vocabulary or None,
    )


Reading = Annotated[ReadOptions, Depends(_reading)]
"""How a file is read."""


def _file_name(
    file_name: Annotated[str, Query(min_length=1, max_length=255, description="Of the file that is sent.")],
) -> str:
    name = file_name.replace("\\", "/").rpartition("/")[2].strip()
    if not name or not name.isprintable() or name in (".", ".."):
        raise InputError("file_name is the name of the file that is sent, such as terms.csv")
    return name


FileName = Annotated[str, Depends(_file_name)]
"""The name of the file that a request sends, without a folder."""
