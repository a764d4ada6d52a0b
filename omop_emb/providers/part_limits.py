"""Part limits: what a model reads besides text, how much of it at once, and how many tokens that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omop_emb.errors import InputError
from omop_emb.providers.parts import Content, Part, PartKind, digest_of
from omop_emb.records import counted
from omop_emb.safe_files.foreign_text import size


@dataclass(frozen=True, kw_only=True)
class PartLimits:
    """What a model reads besides text; its numbers are for one input, whose parts share a vector.

    Attributes:
        media_types: such as "image/png".
        images: most images.
        pdfs: most PDFs; pages: most pages of them together.
        audios: most recordings; seconds: most seconds of them together.
        request_bytes: most bytes of one request, before they are encoded.
        image_tokens, page_tokens: tokens of an image and of a page, about.
        audio_tokens_per_second: tokens of a recording, about.
        prefix: whether a role's prefix goes with images, PDFs and recordings, and with texts beside them.
        date, source: the day on which these limits were looked up, as YYYY-MM-DD, and where.
    """

    media_types: tuple[str, ...]
    images: int
    pdfs: int
    pages: int
    audios: int
    seconds: float
    request_bytes: int
    image_tokens: int
    page_tokens: int
    audio_tokens_per_second: float
    prefix: bool = True
    date: str = ""
    source: str = ""

    def __str__(self) -> str:
        kinds = (
            (self.images, f"{self.images} images"),
            (self.pages, f"a PDF of {counted(self.pages, 'page')}"),
            (self.audios, f"{self.seconds:g} seconds of sound"),
        )
        formats = ", ".join(name.partition("/")[2] for name in self.media_types)
        return f"{', '.join(words for most, words in kinds if most)} ({formats})"

    def content(self, parts: Sequence[Part], model: str) -> Content:
        """The parts as one input of this model.

        Raises:
            InputError: the model does not read them, or not so much at once.
        """
        for part in parts:
            if part.kind is not PartKind.TEXT and part.media_type not in self.media_types:
                raise InputError(
                    f"{part.name or 'a part'} is {part.media_type}, and {model} reads "
                    f"{', '.join(self.media_types)}: convert it"
                )
        kinds = [part.kind for part in parts]
        for number, most, what in (
            (kinds.count(PartKind.IMAGE), self.images, "image"),
            (kinds.count(PartKind.PDF), self.pdfs, "PDF"),
            (sum(part.pages for part in parts), self.pages, "page"),
            (kinds.count(PartKind.AUDIO), self.audios, "recording"),
        ):
            if number > most:
                advice = (
                    ": name one page" if what == "page" else (": give fewer, or embed each part separately")
                )
                raise InputError(
                    f"it has {counted(number, what)}, and {model} reads at most {most} at once{advice}"
                )
        seconds = sum(part.seconds for part in parts)
        if seconds > self.seconds:
            raise InputError(
                f"it has {seconds:,.1f} seconds of sound, and {model} reads at most {self.seconds:g} at "
                "once: cut it"
            )
        content = Content(
            tuple(parts),
            digest_of(parts),
            image_tokens=sum(
                self.image_tokens if part.kind is PartKind.IMAGE else self.page_tokens * part.pages
                for part in parts
            ),
            audio_tokens=round(seconds * self.audio_tokens_per_second),
            takes_prefix=self.prefix or set(kinds) == {PartKind.TEXT},
        )
        if content.media_bytes > self.request_bytes:
            raise InputError(
                f"its parts have {size(content.media_bytes)}, and {model} is sent at most "
                f"{size(self.request_bytes)} at once: make them smaller"
            )
        return content
