"""New reviews: a file is checked and stored as a new project; its terms are read later."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.errors import InputError
from omop_emb.mapping.files.columns import Columns
from omop_emb.mapping.files.input_file import InputFile
from omop_emb.mapping.files.read_options import ReadOptions
from omop_emb.mapping.files.reading_report import reading_lines, reading_values
from omop_emb.mapping.files.table_file import TableFile
from omop_emb.mapping.files.term_file import TermFile
from omop_emb.mapping.resources import DEFAULT_SITE
from omop_emb.service.review.imports.reading_settings import reading_to_json
from omop_emb.service.review.imports.table_import import reviewed_table
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.project_store import create_project, find_project, list_projects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

_PREVIEWED = 8  # rows
_LONGEST_VALUE = 200  # characters of a value in a preview


@dataclass(frozen=True, kw_only=True)
class FilePreview:
    """What would be read of a file.

    Attributes:
        lines: how it is read, for people.
        headers: of its columns.
        roles: role ("term", "code", …) -> its headers.
        rows: values of the first rows, in the order of the headers.
        decided_by: the column that says what a person decided; "" for none.
        problem: why it cannot be read so, such as that no column of terms is recognised; "" for nothing.
    """

    lines: list[str]
    headers: list[str]
    roles: dict[str, list[str]]
    rows: list[list[str]] = field(default_factory=list)
    decided_by: str = ""
    problem: str = ""


def preview_file(
    path: str | Path, options: ReadOptions | None = None, *, content: IO[bytes] | None = None
) -> FilePreview:
    """The first rows of a file and what its columns were taken for.

    Args:
        path: the file, or the name of `content`.
        options: how it is read.
        content: the bytes, in an open file.

    Raises:
        InputError: there is no such file; what is wrong with one is in the preview.
    """
    options = options or ReadOptions()
    with InputFile(path, content=content) as source:
        try:
            file = TermFile(source, options)
        except InputError as error:
            return _preview_rows(source, options, str(error))
        found = reading_values(file)["columns"]
        roles = {role: [names] if isinstance(names, str) else list(names) for role, names in found.items()}
        decided_by = "mappingStatus" if file.usagi is not None else ""
        if file.usagi is None and (table := reviewed_table(file, options)) is not None:
            decided_by = table.approved or ""
        return FilePreview(
            lines=list(reading_lines(file)),
            headers=list(file.headers),
            roles=roles,
            rows=_first(_rows(file)),
            decided_by=decided_by,
        )


def _preview_rows(source: InputFile, options: ReadOptions, problem: str) -> FilePreview:
    """The rows of a file whose columns are not clear, so that a person can say what they are."""
    try:
        table = TableFile(source, replace(options, columns=Columns(), source_vocabulary=None))
    except InputError as error:
        return FilePreview(lines=[], headers=[], roles={}, problem=str(error))
    rows = (list(row.values) for row in table.rows())
    return FilePreview(lines=[], headers=list(table.headers), roles={}, rows=_first(rows), problem=problem)


def _first(rows: Iterator[list[str]]) -> list[list[str]]:
    return [[value[:_LONGEST_VALUE] for value in row] for row in islice(rows, _PREVIEWED)]


def begin_review(
    engine: Engine,
    path: str | Path,
    *,
    name: str = "",
    options: ReadOptions | None = None,
    site: str = DEFAULT_SITE,
    created_by: str,
    content: IO[bytes] | None = None,
) -> Project:
    """Store a file as a new review; import_review() reads its terms and maps them.

    Args:
        engine: of the database; this function commits.
        path: the file, or the name of `content`.
        name: of the review; "" takes the file's, with a number if there is one of that name.
        options: how the file is read.
        site: whose memory and ranker are used.
        created_by: who begins it, and who is named for decisions in the file that bear no name.
        content: the bytes, in an open file.

    Raises:
        InputError: the file cannot be read, has no terms, or there is a review of that name.
    """
    options = options or ReadOptions()
    with ExitStack() as stack:
        source = stack.enter_context(InputFile(path, content=content))
        file = stack.enter_context(TermFile(source, options))
        file.check_has_terms()
        settings = {
            "reading": reading_to_json(options),
            "file": {**file.settings, "notes": list(reading_lines(file))},
        }
        digest = source.digest()
        with session_scope(engine) as session:
            connection = driver_connection(session)
            project_id = create_project(
                connection,
                name=name or _free_name(Path(path).stem, {one.name for one in list_projects(connection)}),
                site=site,
                file_name=Path(path).name,
                file_digest=digest,
                settings=settings,
                created_by=created_by,
                content=source.open(),
            )
            return find_project(connection, project_id)


def same_file(engine: Engine, path: Path, *, site: str = DEFAULT_SITE) -> Project | None:
    """A site's latest review of a file with the same bytes, None if there is none.

    Raises:
        InputError: the file cannot be read.
    """
    with InputFile(path) as source:
        digest = source.digest()
    with session_scope(engine) as session:
        projects = list_projects(driver_connection(session))
    return next((one for one in projects if (one.file_digest, one.site) == (digest, site)), None)


def _rows(file: TermFile) -> Iterator[list[str]]:
    if file.usagi is None:
        yield from (list(row.values) for row in file.table.rows())
        return
    for mapping in file.usagi.mappings():
        if not mapping.problem:
            yield from ([cells.get(name, "") for name in file.headers] for cells in mapping.rows)


def _free_name(name: str, taken: set[str]) -> str:
    name = "".join(letter for letter in name if letter.isprintable()).strip() or "review"
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free
