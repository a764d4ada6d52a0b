"""The options of omop-emb search for pictures, PDF pages and recordings, and the query made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import option_group
from .suggestions import Choice

if TYPE_CHECKING:
    from omop_emb import Part


@dataclass(frozen=True, kw_only=True)
class QueryFiles:
    """The files of a query, as they were named."""

    images: tuple[str, ...]
    files: tuple[str, ...]
    combine: str

    @property
    def names(self) -> list[str]:
        """The names of the files without their folders."""
        return [Path(file).name for file in (*self.images, *self.files)]

    def parts(self) -> list[Part]:
        """The files, read."""
        from omop_emb import Part

        return [*map(Part.image, self.images), *map(_part, self.files)]


def _part(reference: str) -> Part:
    from omop_emb import Part
    from omop_emb.embeddings import split_page

    # A file may bear such a name.
    path, page = (reference, None) if Path(reference).exists() else split_page(reference)
    return Part.file(path, page=page)


def _make_files(images: tuple[str, ...], files: tuple[str, ...], combine: str | None) -> QueryFiles | None:
    if not images and not files:
        if combine is not None:
            raise click.UsageError("--combine is for files: add --image FILE or --file-part FILE")
        return None
    return QueryFiles(images=images, files=files, combine=combine or "one")


# Passes `query_files`, QueryFiles or None.
query_file_options = option_group(
    "query_files",
    _make_files,
    click.option(
        "--image",
        "images",
        multiple=True,
        metavar="FILE",
        help="Search vectors with an image and any TERMs as one query; repeatable. For models that read "
        "images, such as gemini-embedding-2.",
    ),
    click.option(
        "--file-part",
        "files",
        multiple=True,
        metavar="FILE[#page=N]",
        help="The same with an image, a PDF, one page of a PDF, or a recording; repeatable.",
    ),
    click.option(
        "--combine",
        type=Choice(["one", "mean"]),
        help="Embed TERMs and files together (one), or separately and take the mean.  [default: one]",
    ),
)
