"""PDF pages: how many a file has, and one of them as a file of its own."""

from __future__ import annotations

import io
import logging
from typing import Any

from omop_emb.errors import InputError, MissingExtraError
from omop_emb.safe_files.foreign_errors import foreign_errors


def pdf_pages(data: bytes, name: str, page: int | None) -> tuple[bytes, int]:
    """A PDF and how many pages it has; of `page`, from 1, a PDF with that page alone.

    Raises:
        InputError: it is damaged or encrypted, or has no such page.
        MissingExtraError: pypdf is not installed.
    """
    reader_class, writer_class = _pypdf()
    with foreign_errors(name, "is not a readable PDF"):
        reader = reader_class(io.BytesIO(data))
        is_encrypted = reader.is_encrypted
        count = 0 if is_encrypted else len(reader.pages)
    if is_encrypted:
        raise InputError(f"{name} is encrypted: save it without a password")
    if not count:
        raise InputError(f"{name} has no pages")
    if page is None:
        return data, count
    if not 1 <= page <= count:
        raise InputError(f"{name} has {count:,} pages, and no page {page:,}")
    output = io.BytesIO()
    with foreign_errors(name, "has a page that cannot be cut out"):
        writer = writer_class()
        writer.add_page(reader.pages[page - 1])
        writer.write(output)
    return output.getvalue(), 1


def _pypdf() -> tuple[Any, Any]:
    try:
        from pypdf import PdfReader, PdfWriter
    except ImportError:
        raise MissingExtraError("reading PDF pages", "pdf") from None
    # It logs what it puts right in a damaged file, which may quote it.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    return PdfReader, PdfWriter
