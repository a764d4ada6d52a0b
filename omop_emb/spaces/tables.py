"""The two tables of an embedding space: their names, columns and indexes."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql

from omop_emb.errors import SpaceError

SCHEMA = "omop_emb"

# pgvector 0.8: an HNSW index on halfvec takes at most 4,000 dimensions.
MAX_HNSW_DIMENSIONS = 4000
# A row must fit a page of 8 kB to be stored plain; beyond, the vector goes to the TOAST table uncompressed.
MAX_PLAIN_DIMENSIONS = 3900

BINARY = "binary"  # a first pass over the signs of the values

ROW_COLUMNS = (
    "text_hash",
    "concept_id",
    "domain",
    "vocabulary",
    "concept_class",
    "text_kind",
    "standard",
    "valid",
    "embedding",
)
TEXT_COLUMNS = (
    "concept_id",
    "text_kind",
    "text_hash",
    "text",
    "concept_name",
    "domain_id",
    "vocabulary_id",
    "concept_class_id",
    "standard_concept",
    "concept_code",
    "invalid_reason",
)
# What the text table has besides: a hash of the row's vector, so that an equal one need not be sent to be
# compared (see store_rows.vector_hashes); null where whoever wrote the vector did not hash it.
VECTOR_HASH = "vector_hash"
KEY_COLUMNS = ("concept_id", "text_kind", "text_hash")

# Widest alignment first and the vector last: at 768 dimensions five rows fill a page.
_CREATE_ROWS = sql.SQL(
    """
    create table {rows} (
        text_hash bigint not null,
        concept_id integer not null,
        domain smallint not null,
        vocabulary smallint not null,
        concept_class smallint not null,
        text_kind "char" not null,
        standard "char" not null,
        valid boolean not null,
        embedding halfvec({dimensions}) not null,
        primary key (concept_id, text_kind, text_hash)
    )
    """
)
_CREATE_TEXTS = sql.SQL(
    """
    create table {texts} (
        concept_id integer not null,
        text_kind "char" not null,
        text_hash bigint not null,
        text text not null,
        concept_name text not null,
        domain_id text,
        vocabulary_id text,
        concept_class_id text,
        standard_concept text,
        concept_code text,
        invalid_reason text,
        vector_hash bigint,
        primary key (concept_id, text_kind, text_hash)
    )
    """
)


@dataclass(frozen=True)
class SpaceTables:
    """Names of a space's tables and indexes, as identifiers that can be put into SQL."""

    space_id: int
    dimensions: int

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
        """The texts that wait for a vector; there only while a build is under way."""
        return sql.Identifier(SCHEMA, f"space_{self.space_id}_work")

    @property
    def hnsw_name(self) -> str:
        """The vector index's name, without its schema."""
        return self.index_name(None)

    def index_name(self, domain: int | None) -> str:
        """The name, without its schema, of the vector index of all rows or of a domain's own."""
        return f"space_{self.space_id}_hnsw" + ("" if domain is None else f"_{domain}")

    def create(self, connection: psycopg.Connection) -> None:
        """Make both tables, without a vector index."""
        connection.execute(
            _CREATE_ROWS.format(rows=self.rows, dimensions=sql.Literal(self.dimensions)), prepare=False
        )
        # By default a vector of 2 kB is moved out of line, which makes an exact scan five times slower.
        storage = sql.SQL("plain" if self.dimensions <= MAX_PLAIN_DIMENSIONS else "external")
        connection.execute(
            sql.SQL("alter table {} alter column embedding set storage {}").format(self.rows, storage)
        )
        connection.execute(_CREATE_TEXTS.format(texts=self.texts))
        connection.execute(
            sql.SQL("create index on {} (domain, vocabulary, concept_class)").format(self.rows)
        )

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
        """Make the HNSW index; one for cosine serves L2 and inner product too, since rows are unit.

        This is the one statement to change for another index type (see docs/concepts/scale.md).

        Args:
            connection: in whose transaction it is made.
            m: links of a node.
            ef_construction: candidates while it is made.
            first_pass: "" indexes the vectors, a number their first dimensions, "binary" the signs of their
                values; statements.ranked_by() must order by the same expression.
            domain: only the rows of this domain, in an index of their own.
            name: of the index, if not index_name().
        """
        check_hnsw_dimensions(self.dimensions, first_pass)
        where = sql.SQL("") if domain is None else sql.SQL("where domain = {}").format(sql.Literal(domain))
        connection.execute(
            sql.SQL("create index {} on {} using hnsw ({}) with (m = {}, ef_construction = {}) {}").format(
                sql.Identifier(name or self.index_name(domain)),
                self.rows,
                self._indexed(first_pass),
                sql.Literal(m),
                sql.Literal(ef_construction),
                where,
            )
        )

    def _indexed(self, first_pass: str) -> sql.Composable:
        if first_pass == BINARY:
            return sql.SQL("(cast(binary_quantize(embedding) as bit({}))) bit_hamming_ops").format(
                sql.Literal(self.dimensions)
            )
        if first_pass:
            return sql.SQL(
                "(cast(subvector(embedding, 1, {first}) as halfvec({first}))) halfvec_cosine_ops"
            ).format(first=sql.Literal(int(first_pass)))
        return sql.SQL("embedding halfvec_cosine_ops")

    def drop(self, connection: psycopg.Connection) -> None:
        """Drop all tables with their indexes."""
        connection.execute(
            sql.SQL("drop table if exists {}, {}, {}").format(self.rows, self.texts, self.work)
        )


def check_hnsw_dimensions(dimensions: int, first_pass: str = "") -> None:
    """Refuse an HNSW index on more dimensions than pgvector can index.

    Raises:
        SpaceError: more than 4,000 dimensions without a first pass, or a first pass that is none.
    """
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
