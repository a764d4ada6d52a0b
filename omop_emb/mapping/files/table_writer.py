"""Tables written row by row as CSV, TSV or Parquet, as the file's name says."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from omop_emb.atomic_file import atomic_write
from omop_emb.errors import MissingExtraError

Kind = Literal["text", "integer", "real", "boolean", "date"]
_BATCH = 5_000


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table that is written."""

    name: str
    kind: Kind = "text"


class TableWriter:
    """Writes rows to a file that appears whole when the block ends; .tsv, .parquet, all else is CSV.

    CSV and TSV are RFC 4180 in UTF-8: a missing value is empty, a date ISO 8601, a boolean true or
    false, a real number as short as it reads back to itself.
    """

    def __init__(self, path: str | Path, columns: Sequence[Column]) -> None:
        """Open nothing yet.

        Raises:
            MissingExtraError: Parquet, and pyarrow is not installed.
        """
        self._path, self._columns = path, tuple(columns)
        self._stack = ExitStack()
        self._suffix = Path(path).suffix.lower()
        if self._suffix == ".parquet":
            _pyarrow()

    def __enter__(self) -> TableWriter:
        with ExitStack() as opening:
            raw = opening.enter_context(atomic_write(self._path))
            if self._suffix == ".parquet":
                self._sink: _CsvSink | _ParquetSink = _ParquetSink(raw, self._columns)
            else:
                self._sink = _CsvSink(raw, self._columns, "\t" if self._suffix == ".tsv" else ",")
            self._stack = opening.pop_all()
        return self

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row: values by column name, None or missing for no value."""
        self._sink.write([row.get(column.name) for column in self._columns])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._sink.abandon()
            self._stack.__exit__(kind, error, trace)
            return
        try:
            self._sink.close()
        except BaseException as failure:
            self._sink.abandon()
            self._stack.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._stack.__exit__(None, None, None)


class _CsvSink:
    def __init__(self, raw: Any, columns: Sequence[Column], separator: str) -> None:
        self._raw, self._text = raw, io.StringIO()
        self._writer = csv.writer(self._text, delimiter=separator, lineterminator="\n")
        self._rows = 0
        self._writer.writerow([column.name for column in columns])

    def write(self, values: Sequence[Any]) -> None:
        self._writer.writerow([_csv_text(value) for value in values])
        self._rows += 1
        if self._rows % _BATCH == 0:
            self._flush()

    def close(self) -> None:
        self._flush()

    def abandon(self) -> None:
        """Nothing to let go of."""

    def _flush(self) -> None:
        self._raw.write(self._text.getvalue().encode())
        self._text.seek(0)
        self._text.truncate()


class _ParquetSink:
    def __init__(self, raw: Any, columns: Sequence[Column]) -> None:
        pyarrow = _pyarrow()
        types = {
            "text": pyarrow.string(),
            "integer": pyarrow.int64(),
            "real": pyarrow.float64(),
            "boolean": pyarrow.bool_(),
            "date": pyarrow.date32(),
        }
        self._schema = pyarrow.schema([(column.name, types[column.kind]) for column in columns])
        self._writer = pyarrow.parquet.ParquetWriter(raw, self._schema)
        self._rows: list[Sequence[Any]] = []

    def write(self, values: Sequence[Any]) -> None:
        self._rows.append(values)
        if len(self._rows) >= _BATCH:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def abandon(self) -> None:
        # While its file is open still: it would complain from its destructor otherwise.
        with suppress(Exception):
            self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            pyarrow = _pyarrow()
            arrays = [
                pyarrow.array(values, type=field.type)
                for values, field in zip(zip(*self._rows, strict=True), self._schema, strict=True)
            ]
            self._writer.write_table(pyarrow.Table.from_arrays(arrays, schema=self._schema))
            self._rows.clear()


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("writing Parquet files", "parquet") from error
    return pyarrow


def _csv_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.date):
        return value.isoformat()
    return str(value)
