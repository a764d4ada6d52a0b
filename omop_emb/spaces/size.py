"""Space size: bytes of a space's tables and HNSW index, computed from how PostgreSQL stores them."""

from __future__ import annotations

from omop_emb.spaces.tables import BINARY

# Bytes; pages as in https://www.postgresql.org/docs/current/storage-page-layout.html
_PAGE = 8192
_PAGE_HEADER = 24
_ROW_HEADER = 24
_POINTER = 4  # to each row or index entry of a page
_INDEX_ENTRY = 8
_DETAILS = 52  # domain, vocabulary, class, code and flag of a concept with their length bytes, about
_FILL = 0.9  # the filled share of a B-tree's pages, once built by inserts in order


def table_bytes(rows: int, dimensions: int, mean_text_bytes: float) -> int:
    """Both tables of a space with their B-tree indexes; `mean_text_bytes` is of texts in UTF-8.

    Vectors are stored in half precision; a concept's name is assumed to be as long as a text.
    """
    row = _aligned(_ROW_HEADER + 24 + 8 + 2 * dimensions) + _POINTER
    text = _ROW_HEADER + 16 + _DETAILS + 2 * mean_text_bytes + 2 + 4 + _POINTER
    key = (_INDEX_ENTRY + 16 + _POINTER) / _FILL
    # The index on domain, vocabulary and class names each combination once, with a list of its rows.
    return round(_paged(rows, row) + rows * (text + 2 * key + 7))


def index_bytes(rows: int, dimensions: int, m: int = 16, first_pass: str = "") -> int:
    """An HNSW index of pgvector 0.8: an element and a list of neighbours for each row (src/hnsw.h)."""
    if first_pass == BINARY:
        value = 8 + -(-dimensions // 8)
    else:
        value = 8 + 2 * int(first_pass or dimensions)
    element = _aligned(72 + value) + _POINTER
    neighbours = _aligned(4 + 6 * 2 * m) + _POINTER
    return _paged(rows, element + neighbours)


def indexed_dimensions(dimensions: int, first_pass: str = "") -> int:
    """The number of half-precision values that take as much room as a row of the index."""
    return -(-dimensions // 16) if first_pass == BINARY else int(first_pass or dimensions)


def _paged(rows: int, row_bytes: int) -> int:
    rows_per_page = (_PAGE - _PAGE_HEADER - 8) // row_bytes
    if rows_per_page == 0:  # a vector that is stored outside its row, in pieces
        return rows * row_bytes
    return -(-rows // rows_per_page) * _PAGE


def _aligned(size: int) -> int:
    return -(-size // 8) * 8
