"""Whether a space is what it should be: counted, hashed, measured, and a sample of it embedded again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from psycopg import sql
from sqlalchemy import Engine

from omop_emb.database import binary_format
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import OmopEmbError
from omop_emb.indexing import difference
from omop_emb.indexing.connections import open_connection
from omop_emb.indexing.preview import resolve_recipe
from omop_emb.indexing.status import space_status
from omop_emb.indexing.vector_indexes import desired_indexes, existing_indexes, index_state
from omop_emb.records import EmbeddingRole, IndexType
from omop_emb.search import planner, recall
from omop_emb.spaces import registry, upsert
from omop_emb.spaces.recipe import TEMPLATE_FIELDS, fill_template, text_hash_sql
from omop_emb.spaces.registry import Space
from omop_emb.sql import read
from omop_emb.vocabulary import reader

# Rounding a unit vector to half precision changes its norm by at most 2**-11.
_NORM_TOLERANCE = 0.002
# Services answer the same text a little differently each time, at most some 1e-3 apart.
_LEAST_COSINE = 0.995
_BUILD = "run omop-emb index build"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        check: what.
        ok: whether it is as it should be.
        found: what was found, for a person.
        what_to_do: the next step; "" where it is ok.
    """

    check: str
    ok: bool
    found: str
    what_to_do: str = ""


def verify_index(
    engine: Engine, name: str | None = None, *, sample: int = 200, client: EmbeddingClient | None = None
) -> Iterator[Check]:
    """Each check of a space as it is done. Nothing is written.

    Args:
        engine: the database.
        name: of the space; None is the active one.
        sample: how many of its texts are embedded again; 0 asks no model for anything.
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
        looking = _Looking(connection, space, sample, client)
        for look in (
            looking.at_the_build,
            looking.at_keys,
            looking.at_hashes,
            looking.at_vectors,
            looking.at_the_index,
            looking.at_the_vocabulary,
            looking.at_the_model,
            looking.at_recall,
        ):
            yield look()


@dataclass(frozen=True)
class _Looking:
    """The checks of one space in one transaction."""

    connection: psycopg.Connection[Any]
    space: Space
    sample: int
    client: EmbeddingClient | None

    def at_the_build(self) -> Check:
        found = space_status(self.connection, self.space)
        if found.waiting is None:
            refused = f", {found.failed:,} texts refused by the model" if found.failed else ""
            return _passed("build", f"none is under way{refused}")
        by = f"by {found.builders} builders" if found.builders else "and nobody is at it"
        return _failed("build", f"unfinished: {found.waiting:,} texts to go, {by}", _BUILD)

    def at_keys(self) -> Check:
        texts, without_vector, without_text = self._row("verify_keys")
        if not without_vector and not without_text:
            return _passed("rows", f"{texts:,} texts, each with its vector")
        found = f"{without_vector:,} texts without a vector, {without_text:,} vectors without a text"
        return _failed("rows", found, self._anew)

    def at_hashes(self) -> Check:
        (wrong,) = self._row(
            "verify_hashes", hash=text_hash_sql(self.space.template), plain_hash=text_hash_sql("")
        )
        if not wrong:
            return _passed("hashes", "each is that of its text")
        return _failed("hashes", f"{wrong:,} texts with the hash of another", _BUILD)

    def at_vectors(self) -> Check:
        dimensions = self.space.fingerprint.dimensions
        other_length, not_unit = self._row(
            "verify_vectors", dimensions=sql.Literal(dimensions), tolerance=sql.Literal(_NORM_TOLERANCE)
        )
        if not other_length and not not_unit:
            return _passed("vectors", f"{dimensions:,} dimensions, each of unit length")
        found = f"{other_length:,} have not {dimensions:,} dimensions, {not_unit:,} are not of unit length"
        return _failed("vectors", found, self._anew)

    def at_the_index(self) -> Check:
        names = {
            key: table.as_string(self.connection)
            for key, table in (("rows", self.space.tables.rows), ("texts", self.space.tables.texts))
        }
        broken = [name for (name,) in self.connection.execute(read("verify_indexes"), names)]
        if broken:
            return _failed("index", f"{', '.join(broken)}: its creation was interrupted", _BUILD)
        if self.space.index_type is IndexType.FLAT:
            return _passed("index", "none, as FLAT needs none")
        found = {index.domain for index in existing_indexes(self.connection, self.space)}
        missing = desired_indexes(self.connection, self.space, self.space.partial).keys() - found
        if None in missing:
            return _failed("index", "the HNSW index is missing", _BUILD)
        if missing:
            return _failed("index", f"{len(missing)} of those of a domain's rows missing", _BUILD)
        return _passed("index", f"there and valid: one of all rows, {len(found) - 1} of a domain's")

    def at_the_vocabulary(self) -> Check:
        if reader.vocabulary_tables(self.connection) is None:
            return _passed("vocabulary", "none is loaded to compare with")
        if space_status(self.connection, self.space).selection is None:
            return _passed("vocabulary", "the space was not built from one")
        recipe = resolve_recipe(self.connection, self.space, {})
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
        said = ", ".join(f"{count:,} {what}" for count, what in changes if count > 0)
        release = plan.vocabulary_release or "the loaded vocabulary"
        if not said:
            return _passed("vocabulary", f"as {release}")
        return _failed("vocabulary", f"texts differ from {release}: {said}", _BUILD)

    def at_the_model(self) -> Check:
        if not self.sample:
            return _passed("model", "not asked")
        try:
            return self._compared(self.client or EmbeddingClient.for_fingerprint(self.space.fingerprint))
        except OmopEmbError as error:
            return _failed("model", f"it cannot be asked: {error}", "mend that, then verify again")

    def at_recall(self) -> Check:
        if self.space.index_type is IndexType.FLAT:
            return _passed("recall", "exact")
        if index_state(self.connection, self.space) != "valid":
            return _failed("recall", "cannot be measured without the index", _BUILD)
        measured = recall.measure_recall(self.connection, self.space)
        if not measured:
            return _passed("recall", "so few rows are compared one by one")
        used, _ = planner.ef_search_for(self.space, 10, None)
        if used is None:
            return _passed("recall", "searches are exact, as the index was measured to find too few")
        at_10 = [(ef_search, found) for k, ef_search, found in measured if k == 10]
        ef_search, found = next(((ef, share) for ef, share in at_10 if ef >= used), at_10[-1])
        said = f"{found:.3f} of the 10 nearest at ef_search {ef_search}"
        if found >= planner.DEFAULT_RECALL - 0.01:
            return _passed("recall", said)
        return _failed("recall", said, f"with a larger --hnsw-ef-construction, {self._anew}")

    def _compared(self, client: EmbeddingClient) -> Check:
        differences = client.fingerprint.differences(self.space.fingerprint)
        if differences:
            return _failed(
                "model",
                f"another than the space's: {'; '.join(differences)}",
                "install the space's model again",
            )
        statement = sql.SQL(read("verify_sample")).format(
            texts=self.space.tables.texts, rows=self.space.tables.rows, sample=sql.Literal(self.sample)
        )
        with binary_format.binary_cursor(self.connection) as cursor:
            drawn = cursor.execute(statement).fetchall()
        if not drawn:
            return _passed("model", "no text to embed again")
        inputs = [_input(self.space.template, row) for row in drawn]
        stored = binary_format.decode_half_vectors(
            [row[-1] for row in drawn], self.space.fingerprint.dimensions
        )
        cosines = np.full(len(inputs), np.nan)
        for part in client.embed_stream(inputs, embedding_role=EmbeddingRole.DOCUMENT):
            there = stored[part.positions]
            cosines[part.positions] = np.sum(there * part.vectors, axis=1) / np.linalg.norm(there, axis=1)
        wrong = int(np.sum(~(cosines >= _LEAST_COSINE)))
        if wrong:
            found = f"{wrong:,} of {len(inputs):,} texts get another vector now than they have"
            return _failed("model", found, self._anew)
        found = f"{len(inputs):,} texts embedded again, least cosine {np.min(cosines):.5f}"
        return _passed("model", found)

    def _row(self, query: str, **parts: sql.Composable) -> Any:
        statement = sql.SQL(read(query)).format(
            texts=self.space.tables.texts, rows=self.space.tables.rows, **parts
        )
        row = self.connection.execute(statement).fetchone()
        assert row is not None  # noqa: S101 - aggregates have one row
        return row

    @property
    def _anew(self) -> str:
        return f"build it anew: omop-emb index drop {self.space.name}, then omop-emb index build"


def _input(template: str, row: Any) -> str:
    """What was embedded for a row of verify_sample: its text in the template, or as it is."""
    hash_, text, *details = row[:-1]
    fields = dict(zip(TEMPLATE_FIELDS[1:], details, strict=True))
    filled = fill_template(template, text, fields)
    return filled if upsert.text_hash(filled) == hash_ else text


def _passed(check: str, found: str) -> Check:
    return Check(check=check, ok=True, found=found)


def _failed(check: str, found: str, what_to_do: str) -> Check:
    return Check(check=check, ok=False, found=found, what_to_do=what_to_do)
