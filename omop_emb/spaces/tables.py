"""Space tables: names, columns and indexes of the two tables that hold an embedding space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import psycopg
from psycopg import sql

from omop_emb.database.binary_format import CopyColumns
from omop_emb.errors import SpaceError

SCHEMA = "omop_emb"

# pgvector 0.8: an HNSW index on halfvec takes at most 4,000 dimensions.
MAX_HNSW_DIMENSIONS = 4000
# A row must fit a page of 8 kB to be stored plain; beyond, the vector goes to the TOAST table uncompressed.
MAX_PLAIN_DIMENSIONS = 3900

BINARY = "binary"  # a first pass over the signs of the values

KEY_COLUMNS = ("concept_id", "text_kind", "text_hash")
# The row table but for its vector, which comes last. Widest first: at 768 dimensions five rows fill a page.
_ROW_TYPES = {
    "text_hash": "bigint",
    "concept_id": "integer",
    "domain": "smallint",
    "vocabulary": "smallint",
    "concept_class": "smallint",
    "text_kind": '"char"',
    "standard": '"char"',
    "valid": "boolean",
}
_TEXT_TYPES = {
    "concept_id": "integer",
    "text_kind": '"char"',
    "text_hash": "bigint",
    "text": "text not null",
    "concept_name": "text not null",
    "domain_id": "text",
    "vocabulary_id": "text",
    "concept_class_id": "text",
    "standard_concept": "text",
    "concept_code": "text",
    "invalid_reason": "text",
}
# The text table's last column: a hash of the row's vector (see text_rows.vector_hashes), so that an upsert
# need not send an equal vector to compare it. Null where the writer did not hash the vector.
VECTOR_HASH = "vector_hash"
_NUMPY_TYPES = {"bigint": "i8", "integer": "i4", "smallint": "i2", '"char"': "S1", "boolean": "?"}

ROW_COLUMNS = (*_ROW_TYPES, "embedding")
TEXT_COLUMNS = tuple(_TEXT_TYPES)
# A row but for its vector; domain, vocabulary and class as codes of omop_emb.label.
ROW_DTYPE = np.dtype([(name, f"<{_NUMPY_TYPES[kind]}") for name, kind in _ROW_TYPES.items()])
# The text table's columns of fixed width, as COPY sends them.
TEXT_KEY_LAYOUT: CopyColumns = (
    *((name, f">{_NUMPY_TYPES[_TEXT_TYPES[name]]}") for name in KEY_COLUMNS),
    (VECTOR_HASH, ">i8"),
)

_CREATE_ROWS = sql.SQL(
    "create table {rows} ({columns}, embedding {vector}.halfvec({dimensions}) not null, "
    "primary key (concept_id, text_kind, text_hash)); "
    "alter table {rows} alter column embedding set storage {storage}; "
    "create index on {rows} (domain, vocabulary, concept_class)"
)
_CREATE_TEXTS = sql.SQL(
    "create table {texts} ({columns}, vector_hash bigint, primary key (concept_id, text_kind, text_hash))"
)


def row_layout(dimensions: int) -> CopyColumns:
    """The row table's columns as COPY sends them."""
    types = ((name, f">{_NUMPY_TYPES[kind]}") for name, kind in _ROW_TYPES.items())
    return (*types, ("embedding", (">f2", dimensions)))


@dataclass(frozen=True)
class SpaceTables:
    """Names of a space's tables and indexes, as identifiers for SQL."""

    space_id: int
    dimensions: int
    vector_schema: str  # where pgvector is installed; its names are found whatever the search_path is

    @property
    def rows(self) -> sql.Identifier:
        """Keys, filter columns and vectors."""
        return sql.Identifier(SCHEMA, f"space_{self.space_id}")

    @property
    def texts(self) -> sql.Identifier:
        """The embedded texts and what is shown of their concepts."""
        return sql.Identifier(SCHEMA, f"space_{self.space_id}_text")

    @property
    def work(self) -> sql.Identifier:
        """The texts that wait for a vector; exists only during a build."""
        return sql.Identifier(SCHEMA, f"space_{self.space_id}_work")

    def index_name(self, domain: int | None = None) -> str:
        """The name, without its schema, of the vector index over all rows or over one domain's."""
        return f"space_{self.space_id}_hnsw" + ("" if domain is None else f"_{domain}")

    def create(self, connection: psycopg.Connection) -> None:
        """Create both tables, without a vector index."""
        columns = _column_list(sql.SQL("{} {} not null"), _ROW_TYPES)
        # By default a vector of 2 kB is moved out of line, which makes an exact scan five times slower.
        storage = sql.SQL("plain" if self.dimensions <= MAX_PLAIN_DIMENSIONS else "external")
        connection.execute(
            _CREATE_ROWS.format(
                rows=self.rows,
                columns=columns,
                vector=sql.Identifier(self.vector_schema),
                dimensions=sql.Literal(self.dimensions),
                storage=storage,
            )
        )
        columns = _column_list(sql.SQL("{} {}"), _TEXT_TYPES)
        connection.execute(_CREATE_TEXTS.format(texts=self.texts, columns=columns))

    def create_hnsw(
        self,
        connection: psycopg.Connection,
        *,
        m: int,
        ef_construction: int,
        first_pass: str = "",
        domain: int | None = None,
        name: str | None = None,
    ) -> None:
        """Create the HNSW index of all rows, or of one domain's, as `name` or index_name().

        One for cosine serves L2 and inner product too, since rows are unit. `first_pass` is as in Space;
        search.statements.index_order() must order by the same expression. This is the one statement to
        change for another index type (see docs/concepts/scale.md).
        """
        check_hnsw_dimensions(self.dimensions, first_pass)
        where = sql.SQL("") if domain is None else sql.SQL("where domain = {}").format(sql.Literal(domain))
        connection.execute(
            sql.SQL("create index {} on {} using hnsw ({}) with (m = {}, ef_construction = {}) {}").format(
                sql.Identifier(name or self.index_name(domain)),
                self.rows,
                self._index_expression(first_pass),
                sql.Literal(m),
                sql.Literal(ef_construction),
                where,
            )
        )

    def _index_expression(self, first_pass: str) -> sql.Composable:
        vector = sql.Identifier(self.vector_schema)
        if first_pass == BINARY:
            return sql.SQL(
                "(cast({vector}.binary_quantize(embedding) as bit({bits}))) {vector}.bit_hamming_ops"
            ).format(vector=vector, bits=sql.Literal(self.dimensions))
        if first_pass:
            return sql.SQL(
                "(cast({vector}.subvector(embedding, 1, {first}) as {vector}.halfvec({first}))) "
                "{vector}.halfvec_cosine_ops"
            ).format(vector=vector, first=sql.Literal(int(first_pass)))
        return sql.SQL("embedding {vector}.halfvec_cosine_ops").format(vector=vector)

    def drop(self, connection: psycopg.Connection) -> None:
        """Drop all tables with their indexes."""
        drop = sql.SQL("drop table if exists {}, {}, {}")
        connection.execute(drop.format(self.rows, self.texts, self.work))


def _column_list(template: sql.SQL, types: dict[str, str]) -> sql.Composed:
    return sql.SQL(", ").join(
        template.format(sql.Identifier(name), sql.SQL(kind)) for name, kind in types.items()
    )


def check_hnsw_dimensions(dimensions: int, first_pass: str = "") -> None:
    """Raise SpaceError if pgvector cannot index that many dimensions, or the first pass is invalid."""
    if first_pass == BINARY:
        return
    if first_pass and not (first_pass.isdigit() and 0 < int(first_pass) < dimensions):
        raise SpaceError(
            f"a first pass is {BINARY!r} or a number of dimensions below {dimensions:,}; found {first_pass!r}"
        )
    indexed = int(first_pass or dimensions)
    if indexed > MAX_HNSW_DIMENSIONS:
        raise SpaceError(
            f"an HNSW index takes at most {MAX_HNSW_DIMENSIONS:,} dimensions, found {indexed:,}: "
            "use a FLAT space, a first pass, or a smaller OMOP_EMB_DIMENSIONS if the model is a Matryoshka "
            "model"
        )
