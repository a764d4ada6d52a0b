"""File queries: the vectors of terms that name pictures, PDF pages or recordings, embedded with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from omop_emb.arrays import Vectors
from omop_emb.errors import InputError, MissingExtraError, TextRejectedError
from omop_emb.providers.parts import EmbeddingInput, Part, split_page

_MOST_QUERIES, _MOST_BYTES = 100, 32 << 20  # that are embedded at once

Embed = Callable[[Sequence[EmbeddingInput]], Vectors]
"""Texts, or sequences of parts -> (n, dimensions) unit rows, embedded as queries."""

FileQuery = tuple[str, tuple[str, ...]]
"""A text, and the files that belong to it."""


def load_part(reference: str) -> Part:
    """The part that a reference such as "dictionary.pdf#page=3" names.

    Raises:
        InputError: the file cannot be read, or is none that can be embedded.
    """
    path, page = (reference, None) if Path(reference).exists() else split_page(reference)
    return Part.file(path, page=page)


def embed_with_files(
    queries: Mapping[int, FileQuery], embed: Embed, left_out: dict[str, str]
) -> Iterator[tuple[int, Vectors]]:
    """The number and the unit row of each query that can be embedded with its files.

    Of the others, the files and the reason are added to `left_out`.
    """
    for chunk in _chunks(queries, left_out):
        try:
            yield from zip(chunk, embed(list(chunk.values())), strict=True)
        except (InputError, TextRejectedError):
            # One of them is the cause; which one, each alone tells.
            for number, query in chunk.items():
                try:
                    yield number, embed([query])[0]
                except (InputError, TextRejectedError) as error:
                    _leave_out(queries[number], str(error).partition(": ")[2] or str(error), left_out)


def _chunks(
    queries: Mapping[int, FileQuery], left_out: dict[str, str]
) -> Iterator[dict[int, EmbeddingInput]]:
    """The queries with their files read, some at a time; a file that several name is read once a chunk."""
    chunk: dict[int, EmbeddingInput] = {}
    parts: dict[str, Part] = {}
    for number, (text, references) in queries.items():
        try:
            parts.update({name: load_part(name) for name in references if name not in parts})
        except (InputError, MissingExtraError) as error:
            _leave_out(queries[number], str(error), left_out)
            continue
        chunk[number] = [text, *(parts[name] for name in references)]
        if len(chunk) >= _MOST_QUERIES or sum(len(part.data) for part in parts.values()) > _MOST_BYTES:
            yield chunk
            chunk, parts = {}, {}
    if chunk:
        yield chunk


def _leave_out(query: FileQuery, reason: str, left_out: dict[str, str]) -> None:
    references: Sequence[str] = query[1]
    left_out[", ".join(Path(name).name for name in references)] = reason
