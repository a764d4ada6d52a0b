"""Parts: texts, images, PDF pages and recordings, of which an input of several kinds consists."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TypeAlias

from omop_emb.errors import InputError
from omop_emb.providers.media_types import audio_seconds, media_type
from omop_emb.providers.pdf_pages import pdf_pages
from omop_emb.safe_files.foreign_text import read_bytes

_MOST_FILE_BYTES = 256 << 20  # of a PDF of which one page is cut out; a model's own limit is far lower
_PAGE = re.compile(r"(?P<path>.+)#page=(?P<page>[0-9]{1,6})")


class PartKind(Enum):
    """What a part is."""

    TEXT = "text"
    IMAGE = "image"
    PDF = "PDF"
    AUDIO = "audio"


_KINDS = {"image": PartKind.IMAGE, "audio": PartKind.AUDIO, "application/pdf": PartKind.PDF}


@dataclass(frozen=True, slots=True, repr=False)
class Part:
    """One part of an input: a text, an image, a PDF or pages of one, or a recording.

    Make it with Part.text(), Part.image(), Part.pdf(), Part.audio() or Part.file(). A file is read at once
    and taken for what its bytes show, whatever its name says.

    Attributes:
        kind: what it is.
        media_type: such as "image/png"; "text/plain" of a text.
        data: its bytes; those of a text in UTF-8.
        name: the name of its file, for messages; "" if it has none.
        pages: of a PDF; 0 of others.
        seconds: of a recording; 0 of others.
    """

    kind: PartKind
    media_type: str
    data: bytes
    name: str = field(default="", compare=False)
    pages: int = 0
    seconds: float = 0.0

    @property
    def as_text(self) -> str:
        """The text; "" of others."""
        return self.data.decode() if self.kind is PartKind.TEXT else ""

    def __repr__(self) -> str:
        return f"Part({self.media_type}, {len(self.data):,} bytes)"

    @classmethod
    def text(cls, text: str) -> Part:
        """A text.

        Raises:
            InputError: it is no str, or not valid Unicode.
        """
        if not isinstance(text, str):
            raise InputError(f"Part.text() takes a str; found {type(text).__name__}")
        try:
            return cls(PartKind.TEXT, "text/plain", text.encode())
        except UnicodeEncodeError:
            raise InputError("the text holds half a surrogate pair and is not valid Unicode") from None

    @classmethod
    def image(cls, source: str | os.PathLike[str] | bytes) -> Part:
        """An image, from a file or from its bytes.

        Raises:
            InputError: it cannot be read, or is no image.
        """
        return cls.file(source)._checked(PartKind.IMAGE, "an image")

    @classmethod
    def pdf(cls, source: str | os.PathLike[str] | bytes, *, page: int | None = None) -> Part:
        """A PDF, from a file or from its bytes; with `page`, from 1, that page alone.

        Raises:
            InputError: it cannot be read, is no PDF or encrypted, or has no such page.
            MissingExtraError: the extra 'pdf' is not installed.
        """
        return cls.file(source, page=page)._checked(PartKind.PDF, "a PDF")

    @classmethod
    def audio(cls, source: str | os.PathLike[str] | bytes) -> Part:
        """A recording, from a file or from its bytes: WAV or MP3.

        Raises:
            InputError: it cannot be read, or is no recording whose length can be told.
        """
        return cls.file(source)._checked(PartKind.AUDIO, "a recording")

    @classmethod
    def file(cls, source: str | os.PathLike[str] | bytes, *, page: int | None = None) -> Part:
        """An image, PDF or recording, from a file or from its bytes, whichever it is.

        Raises:
            InputError: it cannot be read or is none of these, or `page` is given and it is no PDF.
            MissingExtraError: it is a PDF, and the extra 'pdf' is not installed.
        """
        if page is not None and (isinstance(page, bool) or not isinstance(page, int)):
            raise InputError(f"page must be a whole number, from 1; found {type(page).__name__}")
        if isinstance(source, bytes):
            name, data = "", source
        elif isinstance(source, str | os.PathLike):
            path = Path(source)
            name, data = path.name, read_bytes(path, _MOST_FILE_BYTES, name=path)
        else:
            raise InputError(f"a part is made from a path or from bytes; found {type(source).__name__}")
        shown = name or "the part"
        found = media_type(data)
        kind = _KINDS.get(found) or _KINDS.get(found.partition("/")[0])
        if kind is None:
            raise InputError(f"{shown} is no image, PDF or recording{f' but {found}' if found else ''}")
        if page is not None and kind is not PartKind.PDF:
            raise InputError(f"{shown} is {found} and has no pages: leave out the page")
        if kind is PartKind.PDF:
            data, pages = pdf_pages(data, shown, page)
            return cls(kind, found, data, name, pages=pages)
        if kind is PartKind.AUDIO:
            try:
                return cls(kind, found, data, name, seconds=audio_seconds(data, found))
            except InputError as error:
                raise InputError(f"{shown} {error}") from None
        return cls(kind, found, data, name)

    def _checked(self, kind: PartKind, what: str) -> Part:
        if self.kind is not kind:
            raise InputError(f"{self.name or 'the part'} is not {what} but {self.media_type}")
        return self


@dataclass(frozen=True, slots=True, repr=False)
class Content:
    """Parts that together become one vector; equal if their parts are.

    Attributes:
        digest: SHA-256 of the parts, in their order.
        image_tokens, audio_tokens: tokens of its images and pages, and of its recordings, about.
        takes_prefix: whether a role's prefix goes with it.
    """

    parts: tuple[Part, ...] = field(compare=False)
    digest: bytes
    image_tokens: int = field(default=0, compare=False)
    audio_tokens: int = field(default=0, compare=False)
    takes_prefix: bool = field(default=True, compare=False)

    def __repr__(self) -> str:
        return f"Content({', '.join(map(repr, self.parts))})"

    @property
    def texts(self) -> list[str]:
        """Its parts that are texts."""
        return [part.as_text for part in self.parts if part.kind is PartKind.TEXT]

    @property
    def shown_text(self) -> str:
        """Its texts in one, which searches show of a document."""
        return " ".join(filter(None, self.texts))

    @property
    def media_bytes(self) -> int:
        """The bytes of its parts that are no texts."""
        return sum(len(part.data) for part in self.parts if part.kind is not PartKind.TEXT)

    def prefixed(self, prefix: str) -> Content:
        """The same with the prefix of a role before its first text, or as a text of its own without one."""
        if not prefix or not self.takes_prefix:
            return self
        parts = list(self.parts)
        for number, part in enumerate(parts):
            if part.kind is PartKind.TEXT:
                parts[number] = Part.text(prefix + part.as_text)
                break
        else:
            parts.insert(0, Part.text(prefix))
        return Content(tuple(parts), digest_of(parts), self.image_tokens, self.audio_tokens)


EmbeddingItem: TypeAlias = str | Content
"""What becomes one vector, once it is checked."""

EmbeddingInput: TypeAlias = str | Part | Sequence[str | Part]
"""What a caller may give for one vector."""


def digest_of(parts: Sequence[Part]) -> bytes:
    """SHA-256 of parts: of their media types and bytes, in their order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part.media_type}\n{len(part.data)}\n".encode())
        digest.update(part.data)
    return digest.digest()


def prefixed(item: EmbeddingItem, prefix: str) -> EmbeddingItem:
    """An item with the prefix of a role."""
    return prefix + item if isinstance(item, str) else item.prefixed(prefix)


def split_page(reference: str) -> tuple[str, int | None]:
    """("dictionary.pdf", 3) of "dictionary.pdf#page=3"; the page is None where none is named."""
    match = _PAGE.fullmatch(reference)
    return (match["path"], int(match["page"])) if match else (reference, None)
