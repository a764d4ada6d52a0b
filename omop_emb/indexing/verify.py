"""Space verification: rows counted, hashes and vectors checked, recall measured, a sample embedded again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from psycopg import sql
from sqlalchemy import Engine

from omop_emb.database import binary_format
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.embeddings.models import find_model
from omop_emb.errors import OmopEmbError
from omop_emb.indexing import difference
from omop_emb.indexing.build_options import resolve_recipe
from omop_emb.indexing.connections import Connection, open_connection
from omop_emb.indexing.status import SpaceStatus, space_status
from omop_emb.records import EmbeddingRole, IndexType, counted
from omop_emb.search import measured_recall, recall
from omop_emb.search.vector_indexes import desired_indexes, existing_indexes, index_state
from omop_emb.spaces import registry, upsert
from omop_emb.spaces.recipe import TEMPLATE_FIELDS, fill_template, text_hash_sql
from omop_emb.spaces.registry import Space
from omop_emb.sql import read
from omop_emb.vocabulary import reader

# Rounding a unit vector to half precision changes its norm by at most 2**-11.
NORM_TOLERANCE = 0.002
# Services answer the same text slightly differently each time, by up to about 1e-3.
_MIN_COSINE = 0.995
# Measured again, recall differs a little from what was measured when the index was built.
_RECALL_TOLERANCE = 0.01


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of one check."""

    check: str
    ok: bool
    details: str  # what was found
    next_step: str = ""  # what to do about it; "" if it passed


def verify_index(
    engine: Engine, name: str | None = None, *, sample: int = 200, client: EmbeddingClient | None = None
) -> Iterator[Check]:
    """The checks of a space, each yielded when it is done. Nothing is written.

    Args:
        engine: the database.
        name: of the space; by default the active one.
        sample: how many of its texts are embedded again; 0 calls no model.
        client: that embeds them; by default the one that the space's fingerprint describes.

    Raises:
        SpaceNotFoundError: there is no such space.
        DatabaseError: the database cannot be reached or used.
    """
    with open_connection(engine) as connection:
        connection.execute("set transaction isolation level repeatable read, read only")
        space = (
            registry.active_space(connection) if name is None else registry.space_by_name(connection, name)
        )
        verifier = _Verifier(connection, space, space_status(connection, space), sample, client)
        for check in (
            verifier.build,
            verifier.rows,
            verifier.hashes,
            verifier.vectors,
            verifier.index,
            verifier.vocabulary,
            verifier.model,
            verifier.recall,
        ):
            yield check()


@dataclass(frozen=True)
class _Verifier:
    """The checks of one space in one transaction."""

    connection: Connection
    space: Space
    status: SpaceStatus
    sample: int
    client: EmbeddingClient | None

    def build(self) -> Check:
        if self.status.pending_texts is None:
            refused = (
                f", {counted(self.status.failed, 'text')} refused by the model" if self.status.failed else ""
            )
            return _passed("build", f"no unfinished build{refused}")
        builders = f"{counted(self.status.builders, 'builder')}" if self.status.builders else "no builder"
        details = f"unfinished: {counted(self.status.pending_texts, 'text')} to go, {builders} running"
        return _failed("build", details, self._build)

    def rows(self) -> Check:
        # An index still names the rows of a file that was cut short: only reading the tables tells.
        with self.connection.transaction(force_rollback=True):
            for scan in ("indexscan", "indexonlyscan", "bitmapscan"):
                self.connection.execute("select set_config(%s, 'off', true)", (f"enable_{scan}",))
            texts, without_vector, without_text = self._query("verify_keys")
        if not without_vector and not without_text:
            return _passed("rows", f"{counted(texts, 'text')}, each with its vector")
        texts_without, vectors_without = counted(without_vector, "text"), counted(without_text, "vector")
        details = f"{texts_without} without a vector, {vectors_without} without a text"
        return _failed("rows", details, self._rebuild)

    def hashes(self) -> Check:
        known = find_model(f"{self.space.fingerprint.provider}:{self.space.fingerprint.model}")
        (wrong,) = self._query(
            "verify_hashes",
            hash=text_hash_sql(self.space.template),
            plain_hash=text_hash_sql(""),
            may_have_pictures=sql.Literal(known is not None and known.parts is not None),
        )
        if not wrong:
            return _passed("hashes", "every hash matches its text")
        hashes = counted(wrong, "hash does not match its", "hashes do not match their")
        return _failed("hashes", f"{hashes} text", self._build)

    def vectors(self) -> Check:
        dimensions = self.space.fingerprint.dimensions
        other_length, not_unit = self._query(
            "verify_vectors", dimensions=sql.Literal(dimensions), tolerance=sql.Literal(NORM_TOLERANCE)
        )
        if not other_length and not not_unit:
            return _passed("vectors", f"{counted(dimensions, 'dimension')}, unit length")
        details = (
            f"{other_length:,} without {counted(dimensions, 'dimension')}, {not_unit:,} not of unit length"
        )
        return _failed("vectors", details, self._rebuild)

    def index(self) -> Check:
        tables = {"rows": self.space.tables.rows, "texts": self.space.tables.texts}
        names = {key: table.as_string(self.connection) for key, table in tables.items()}
        broken = [name for (name,) in self.connection.execute(read("verify_indexes"), names)]
        if broken:
            return _failed("index", f"{', '.join(broken)}: its creation was interrupted", self._build)
        if self.space.index_type is IndexType.FLAT:
            return _passed("index", "FLAT needs none")
        existing = {index.domain for index in existing_indexes(self.connection, self.space)}
        missing = desired_indexes(self.connection, self.space, self.space.partial).keys() - existing
        if None in missing:
            is_built = self.status.selection is not None
            next_step = self._build if is_built else f"run {registry.finish_command(self.space.name)}"
            return _failed("index", "the HNSW index is missing", next_step)
        if missing:
            return _failed(
                "index", f"HNSW indexes are missing, of {counted(len(missing), 'domain')}", self._build
            )
        return _passed("index", f"valid: one of all rows, {len(existing) - 1} of single domains")

    def vocabulary(self) -> Check:
        if reader.vocabulary_tables(self.connection) is None:
            return _passed("vocabulary", "none is loaded to compare with")
        if self.status.selection is None:
            return _passed("vocabulary", "the space was not built from one")
        recipe = resolve_recipe(self.connection, self.space)
        plan, _ = difference.preview_plan(self.connection, self.space, recipe)
        refused = self.connection.execute(
            "select count(*) from omop_emb.build_failure where space_id = %s", (self.space.space_id,)
        ).fetchone()
        missing = plan.to_embed + plan.reused - (refused[0] if refused else 0)
        changes = (
            (missing, "missing"),
            (plan.withdrawn + plan.obsolete, "no longer in it"),
            (plan.updated, "with other details"),
        )
        differences = ", ".join(f"{count:,} {what}" for count, what in changes if count > 0)
        release = plan.vocabulary_release or "the loaded vocabulary"
        if not differences:
            return _passed("vocabulary", f"same as {release}")
        return _failed("vocabulary", f"texts differ from {release}: {differences}", self._build)

    def model(self) -> Check:
        if not self.sample:
            return _passed("model", "not called")
        try:
            return self._embed_again(self.client or EmbeddingClient.for_fingerprint(self.space.fingerprint))
        except OmopEmbError as error:
            return _failed("model", f"it cannot be used: {error}", "fix that, then verify again")

    def recall(self) -> Check:
        if self.space.index_type is IndexType.FLAT:
            return _passed("recall", "exact")
        if index_state(self.connection, self.space) != "valid":
            return _failed("recall", "cannot be measured without the index", self._build)
        measured = [
            (ef_search, share)
            for k, ef_search, share in recall.measure_recall(self.connection, self.space)
            if k == 10
        ]
        if not measured:
            return _passed("recall", "exact, because there are few rows")
        used, _ = measured_recall.ef_search_for(self.space, 10, None)
        if used is None:
            return _passed("recall", "exact, because by measurement the index finds too few")
        ef_search, share = next((pair for pair in measured if pair[0] >= used), measured[-1])
        details = f"{share:.3f} of the 10 nearest at ef_search {ef_search}"
        if share >= measured_recall.DEFAULT_RECALL - _RECALL_TOLERANCE:
            return _passed("recall", details)
        return _failed("recall", details, f"with a larger --hnsw-ef-construction, {self._rebuild}")

    def _embed_again(self, client: EmbeddingClient) -> Check:
        differences = client.fingerprint.differences(self.space.fingerprint)
        if differences:
            details = f"differs from the space's: {'; '.join(differences)}"
            return _failed("model", details, "install the space's model again")
        statement = sql.SQL(read("verify_sample")).format(
            texts=self.space.tables.texts, rows=self.space.tables.rows, sample=sql.Literal(self.sample)
        )
        with binary_format.binary_cursor(self.connection) as cursor:
            rows = cursor.execute(statement).fetchall()
        texts = [_embedded_input(self.space.template, row) for row in rows]
        inputs = [text for text in texts if text is not None]
        stored = binary_format.decode_half_vectors(
            [row[-1] for row, text in zip(rows, texts, strict=True) if text is not None],
            self.space.fingerprint.dimensions,
        )
        if not inputs:
            return _passed("model", "no text to embed again")
        cosines = np.full(len(inputs), np.nan)
        for part in client.embed_stream(inputs, embedding_role=EmbeddingRole.DOCUMENT):
            old = stored[part.positions]
            cosines[part.positions] = np.sum(old * part.vectors, axis=1) / np.linalg.norm(old, axis=1)
        changed = int(np.sum(~(cosines >= _MIN_COSINE)))
        if changed:
            details = f"{changed:,} of {counted(len(inputs), 'text')} now get another vector"
            return _failed("model", details, self._rebuild)
        return _passed(
            "model", f"{counted(len(inputs), 'text')} embedded again, lowest cosine {np.min(cosines):.5f}"
        )

    def _query(self, name: str, **parts: sql.Composable) -> Any:
        statement = sql.SQL(read(name)).format(
            texts=self.space.tables.texts,
            rows=self.space.tables.rows,
            vector=sql.Identifier(self.space.vector_schema),
            **parts,
        )
        row = self.connection.execute(statement).fetchone()
        assert row is not None  # noqa: S101 - aggregates have one row
        return row

    @property
    def _build(self) -> str:
        return f"run {registry.build_command(self.space.name)}"

    @property
    def _rebuild(self) -> str:
        first = "activate another space, then " if self.space.is_active else ""
        name = shlex.quote(self.space.name)
        return f"rebuild it: {first}omop-emb index drop {name} && {registry.build_command(self.space.name)}"


def _embedded_input(template: str, row: Any) -> str | None:
    """What was embedded for a row of verify_sample: its text in the template, or the text alone.

    None if it was more than text, such as a picture, which is not stored.
    """
    hash_, text, *details = row[:-1]
    filled = fill_template(template, text, dict(zip(TEMPLATE_FIELDS[1:], details, strict=True)))
    return next((candidate for candidate in (filled, text) if upsert.text_hash(candidate) == hash_), None)


def _passed(check: str, details: str) -> Check:
    return Check(check=check, ok=True, details=details)


def _failed(check: str, details: str, next_step: str) -> Check:
    return Check(check=check, ok=False, details=details, next_step=next_step)
