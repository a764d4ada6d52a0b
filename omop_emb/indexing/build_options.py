"""Build options: which space, what changes about its texts, and how a build runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omop_emb.indexing.connections import Connection
from omop_emb.records import ConceptFilter
from omop_emb.spaces.lifecycle import SpaceSettings
from omop_emb.spaces.recipe import Recipe, filter_from_json
from omop_emb.spaces.registry import Space
from omop_emb.vocabulary.languages import resolve_languages
from omop_emb.vocabulary.reader import require_vocabulary

CHUNK_TEXTS = 512  # one commit, and the most that an interruption can cost
JOB_TEXTS = 10_000  # one batch job, whose answers are committed together


@dataclass(frozen=True, kw_only=True)
class SpaceOptions:
    """How a space is created, and which HNSW indexes it has; FLAT spaces use the name alone.

    Attributes:
        name: of a new space; by default after the model.
        hnsw_m: links of a node of a new HNSW index.
        hnsw_ef_construction: candidates while a new HNSW index is built.
        first_pass: what the HNSW index covers: "none" the whole vectors, a number their first dimensions (of
            a Matryoshka model), "binary" the signs of their values. None: as last built, at first "none".
        partial: domains that have an HNSW index of their own: "auto" those with many rows that are not most,
            "none", or names separated by commas. None: as last built, at first "auto".
    """

    name: str | None = None
    hnsw_m: int = 16
    hnsw_ef_construction: int = 64
    first_pass: str | None = None
    partial: str | None = None

    @property
    def new_space(self) -> SpaceSettings:
        """What a space that does not exist yet is created with."""
        return {
            "name": self.name,
            "hnsw_m": self.hnsw_m,
            "hnsw_ef_construction": self.hnsw_ef_construction,
            "first_pass": "" if self.first_pass in (None, "none") else self.first_pass,
        }


@dataclass(frozen=True, kw_only=True)
class RecipeChange:
    """What to change about the texts that a space holds; None: as last built, at first Recipe's default.

    Attributes:
        texts: which texts of a concept are embedded, see Recipe.
        template: what each text is embedded as; "" leaves it unchanged.
        synonym_languages: the languages whose synonyms are embedded: names, ISO 639-1 codes or OMOP's concept
            ids, "all" for every one that the vocabulary has; see resolve_languages().
        concept_filter: which concepts.
    """

    texts: str | None = None
    template: str | None = None
    synonym_languages: Sequence[int | str] | None = None
    concept_filter: ConceptFilter | None = None


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How a build runs.

    Attributes:
        limit: embed only so many concepts, those with the lowest ids; others in the space stay unchanged.
        dry_run: only count what there is to do. Nothing is written, and read access is enough.
        batch_api: submit texts as batch jobs and wait for the answers. Jobs that are already running are
            collected in any case.
        allow_shrink: build even if the space loses over a fifth of its texts.
        chunk_texts: distinct texts that are claimed and committed together; with `batch_api`, of one job.
        lease_seconds: how long after a builder's last sign of life others take its work over.
        poll_seconds: between looks at batch jobs that are not finished.
    """

    limit: int | None = None
    dry_run: bool = False
    batch_api: bool = False
    allow_shrink: bool = False
    chunk_texts: int | None = None
    lease_seconds: float = 120.0
    poll_seconds: float = 30.0

    @property
    def texts_per_chunk(self) -> int:
        """`chunk_texts`, or the default of batch jobs or ordinary requests."""
        return self.chunk_texts or (JOB_TEXTS if self.batch_api else CHUNK_TEXTS)


def resolve_recipe(connection: Connection, space: Space, change: RecipeChange | None = None) -> Recipe:
    """The recipe that a space was last built with, changed.

    Raises:
        InputError: the change names a language that does not exist, or that has no synonyms.
    """
    recorded: dict[str, Any] = {}
    row = None
    if space.exists:
        row = connection.execute(
            "select selection from omop_emb.space where space_id = %s", (space.space_id,)
        ).fetchone()
    if row is not None and row[0] is not None:
        recorded = {
            "texts": space.texts,
            "template": space.template,
            "synonym_languages": space.synonym_languages,
            "concept_filter": filter_from_json(row[0]),
        }
    changed = {} if change is None else vars(change)
    changed = {name: value for name, value in changed.items() if value is not None}
    if "synonym_languages" in changed:
        tables = require_vocabulary(connection)
        changed["synonym_languages"] = resolve_languages(connection, tables, changed["synonym_languages"])
    return Recipe(**recorded | changed)
