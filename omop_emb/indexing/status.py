"""Space status: rows, sizes, indexes and builds of each space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import sql
from psycopg.rows import dict_row

from omop_emb.indexing.connections import Connection
from omop_emb.records import IndexType, counted
from omop_emb.search.vector_indexes import existing_indexes, index_state
from omop_emb.spaces import registry
from omop_emb.spaces.registry import Recall, Space
from omop_emb.sql import read
from omop_emb.vocabulary.languages import language_names
from omop_emb.vocabulary.reader import vocabulary_tables


@dataclass(frozen=True, kw_only=True)
class SpaceStatus:
    """A space and its state."""

    space: Space
    selection: dict[str, Any] | None  # filter of the last build, without what sets no limit; None before one
    languages: list[str]  # names of those whose synonyms are embedded
    rows: int  # embedded texts
    concepts: int
    table_bytes: int
    index_bytes: int  # of the vector indexes alone
    partial_domains: list[str]  # names of the domains that have an index of their own
    index: str  # "valid", "invalid" (the next index build repairs it), "none", or "exact" for FLAT
    pending_texts: int | None  # distinct texts left to embed; None without an unfinished build
    builders: int  # that hold chunks of it
    failed: int  # texts that the model refused
    batch_jobs: int  # that a provider works on, or that wait to be collected

    @property
    def state(self) -> str:
        """The state in words: "ready", or what is missing and what to run."""
        build = registry.build_command(self.space.name)
        if self.pending_texts is not None:
            state = f"being built by {self.builders}" if self.builders else f"unfinished: run {build}"
            jobs = f", {counted(self.batch_jobs, 'batch job')}" if self.batch_jobs else ""
            return f"{state}, {counted(self.pending_texts, 'text')} to go{jobs}"
        if self.index in ("none", "invalid"):
            return f"without its index: run {registry.finish_command(self.space.name)}"
        return "ready" if not self.failed else f"ready, {counted(self.failed, 'text')} failed"

    def summary(self) -> dict[str, Any]:
        """What a list of spaces shows."""
        space = self.space
        return {
            "name": space.name,
            "active": space.is_active,
            "model": f"{space.fingerprint.provider}:{space.fingerprint.model}",
            "dimensions": space.fingerprint.dimensions,
            "index_type": space.index_type.value,
            "rows": self.rows,
            "concepts": self.concepts,
            "release": space.vocabulary_release,
            "state": self.state,
        }

    def details(self) -> dict[str, Any]:
        """Everything that is recorded of the space, as plain values."""
        space, fingerprint = self.space, self.space.fingerprint
        is_hnsw = space.index_type is IndexType.HNSW
        return {
            **self.summary(),
            "revision": fingerprint.revision,
            "document_prefix": fingerprint.document_prefix,
            "query_prefix": fingerprint.query_prefix,
            "document_task": fingerprint.document_task,
            "query_task": fingerprint.query_task,
            "fingerprint": fingerprint.digest,
            "texts": space.texts,
            "template": space.template,
            "synonym_languages": ", ".join(self.languages),
            "selection": _selection_text(self.selection),
            "hnsw_m": space.hnsw_m if is_hnsw else None,
            "hnsw_ef_construction": space.hnsw_ef_construction if is_hnsw else None,
            "index": self.index,
            "first_pass": space.first_pass or None,
            "partial": space.partial if is_hnsw else None,
            "partial_indexes": ", ".join(self.partial_domains) or None,
            "recall": _recall_text(space.recall),
            "table_bytes": self.table_bytes,
            "index_bytes": self.index_bytes,
            "failed": self.failed,
            "batch_jobs": self.batch_jobs,
        }


def space_status(connection: Connection, space: Space) -> SpaceStatus:
    """A space's state, counted now."""
    with connection.cursor(row_factory=dict_row) as cursor:
        counts = cursor.execute(
            sql.SQL(read("space_status")).format(rows=space.tables.rows),
            {
                "space": space.space_id,
                "rows": space.tables.rows.as_string(connection),
                "texts": space.tables.texts.as_string(connection),
                "domains": list(space.partial_domains),
            },
        ).fetchone()
    assert counts is not None  # noqa: S101 - a select without from has one row
    return SpaceStatus(
        space=space,
        languages=language_names(connection, vocabulary_tables(connection), space.synonym_languages),
        index_bytes=sum(index.bytes for index in existing_indexes(connection, space)),
        index="exact" if space.index_type is IndexType.FLAT else index_state(connection, space),
        **counts,
    )


def space_statuses(connection: Connection) -> list[SpaceStatus]:
    """The state of each space, oldest first."""
    return [space_status(connection, space) for space in registry.all_spaces(connection)]


def _recall_text(measured: Recall) -> str | None:
    """Measured recall, such as "10: 40 0.952, 100 0.991": k, then pairs of ef_search and recall at k."""
    by_k: dict[int, list[str]] = {}
    for k, ef_search, share in sorted(measured):
        by_k.setdefault(k, []).append(f"{ef_search} {share:.3f}")
    return "; ".join(f"{k}: {', '.join(pairs)}" for k, pairs in by_k.items()) or None


def _selection_text(selection: dict[str, Any] | None) -> str | None:
    if selection is None:
        return None
    parts = [
        name if value is True else f"{name}: {', '.join(map(str, value))}"
        for name, value in selection.items()
    ]
    return "; ".join(parts) or "every concept"
