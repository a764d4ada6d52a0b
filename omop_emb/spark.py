"""Spark: terms mapped, texts embedded and space files made by a cluster's workers, without a database.

Its workers run the functions of `omop_emb.service.frame_batches`, which Ray Data and Dask can run as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from omop_emb.arrays import HalfVectors
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import InputError, MissingExtraError, checked_keywords
from omop_emb.indexing.space_file import SpaceMetadata, check_space_file_name, write_space_file
from omop_emb.mapping.settings import Settings
from omop_emb.records import ConceptFilter, EmbeddingRole, TextKind
from omop_emb.service.bundle import check_bundle
from omop_emb.service.bundle.bundle_reader import checked_settings
from omop_emb.service.frame_batches import (
    KEYS,
    RESULTS as RESULTS,
    embed_batches as embed_batches,
    map_batches as map_batches,
    space_batches,
)
from omop_emb.spaces.recipe import Recipe as Recipe
from omop_emb.spaces.tables import TEXT_COLUMNS

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_MOST_PARTITION_BYTES = 256 << 20  # spark.driver.maxResultSize, of which a partition takes part, is 1 GB
_TEXT_BYTES = 1_000  # of a text and its concept, on the high side
_FILE_BATCH = 5_000  # rows
_TYPES = {"concept_id": "int", "text_hash": "bigint", "embedding": "binary"}


class Counts:
    """What a job has done, counted by Spark's accumulators; a task that runs again counts again.

    Args:
        spark: the session; not one of Spark Connect, which has no accumulators.

    Attributes:
        done, failed: terms or texts, and those of them that have an error.
    """

    def __init__(self, spark: Any) -> None:
        self.done, self.failed = (spark.sparkContext.accumulator(0) for _ in range(2))

    def add(self, done: int, failed: int) -> None:
        """Count a batch, on a worker."""
        self.done.add(done)
        self.failed.add(failed)


@checked_keywords
def map_terms(
    df: DataFrame,
    *,
    bundle: str,
    settings: Settings | None = None,
    partitions: int | None = None,
    counts: Counts | None = None,
) -> DataFrame:
    """A DataFrame with its columns and those of RESULTS, a row for each of its rows.

    Distinct terms are mapped once, divided and ordered by their own values, so that a task that runs again
    gets the same rows. The bundle is checked here, and every worker insists on the same one.

    Args:
        df: with a column `name` and, optionally, `code`, `domain` and `source_vocabulary`.
        bundle: the path of a bundle, the same on every worker.
        settings: how terms are mapped.
        partitions: into how many tasks the distinct terms are divided; None: what the cluster runs at once.
        counts: what counts distinct terms and failures.

    Raises:
        InputError: there is no such bundle, or `df` has no column `name`, or has one of RESULTS.
    """
    functions = _functions()
    checked_settings(Settings.parse(settings))
    keys = [key for key in KEYS if key in df.columns]
    _check_columns(df, ["name"])
    if taken := [name for name in df.columns if name in RESULTS]:
        raise InputError(f"the column {taken[0]!r} is one that mapping adds: rename it")
    digest = check_bundle(bundle).digest
    work = partial(map_batches, bundle=str(bundle), digest=digest, settings=settings, counts=counts)
    # A missing value and "" are the same term, and joined by equality.
    cleaned = [
        functions.coalesce(functions.col(f"`{key}`").cast("string"), functions.lit("")) for key in keys
    ]
    named = [f"_term_{key}" for key in keys]
    terms = df.select(*(one.alias(key) for one, key in zip(cleaned, keys, strict=True))).distinct()
    schema = _schema({**dict.fromkeys(keys, "string"), **RESULTS})
    mapped = _divided(terms, keys, partitions).mapInPandas(work, schema)
    renamed = mapped.withColumnsRenamed(dict(zip(keys, named, strict=True)))
    conditions = [one == functions.col(name) for one, name in zip(cleaned, named, strict=True)]
    return df.join(renamed, conditions, "left").drop(*named)


def _schema(types: Mapping[str, str]) -> str:
    return ", ".join(f"`{name}` {kind}" for name, kind in types.items())


def _divided(frame: DataFrame, keys: Sequence[str], partitions: int | None) -> DataFrame:
    """Partitions whose rows are the same, in the same order, however often they are computed."""
    count = partitions or frame.sparkSession.sparkContext.defaultParallelism
    return frame.repartition(count, *keys).sortWithinPartitions(*keys)


@checked_keywords
def embed_texts(
    df: DataFrame,
    *,
    embedding_role: EmbeddingRole,
    client: EmbeddingClient | None = None,
    column: str = "text",
    partitions: int | None = None,
    counts: Counts | None = None,
) -> DataFrame:
    """The distinct texts of a column, each with `embedding` (array<float>, unit length) and `error`.

    Args:
        df: with the column.
        embedding_role: document or query.
        client: whose model and prefixes every worker uses; None is EmbeddingClient().
        column: of the texts.
        partitions: into how many tasks the texts are divided; None: what the cluster runs at once.
        counts: what counts distinct texts and failures.

    Raises:
        InputError: there is no such column.
    """
    functions = _functions()
    _check_columns(df, [column])
    work = partial(
        embed_batches,
        fingerprint=(client or EmbeddingClient()).fingerprint,
        embedding_role=EmbeddingRole.parse(embedding_role, "embedding_role"),
        column=column,
        counts=counts,
    )
    texts = df.select(functions.col(f"`{column}`").cast("string").alias(column)).distinct()
    schema = _schema({column: "string", "embedding": "array<float>", "error": "string"})
    return _divided(texts, [column], partitions).mapInPandas(work, schema)


@dataclass(frozen=True)
class EmbeddedConcepts:
    """What embed_concepts() has written.

    Attributes:
        metadata: what the file says about the space in it.
        rejected: concept id -> why a text of it cannot be embedded; that text is not in the file.
    """

    metadata: SpaceMetadata
    rejected: dict[int, str]


@checked_keywords
def embed_concepts(
    concepts: DataFrame,
    path: str | Path,
    *,
    vocabulary_release: str | None,
    synonyms: DataFrame | None = None,
    recipe: Recipe | None = None,
    client: EmbeddingClient | None = None,
    counts: Counts | None = None,
) -> EmbeddedConcepts:
    """Embed a vocabulary's texts and write the space file that `omop-emb index import` reads.

    The file appears complete or not at all: an interrupted call begins again. The workers keep their
    rows until this process, one partition after the other, has written them.

    Args:
        concepts: with the columns of OMOP's CONCEPT, but for the dates.
        path: of the file, which ends in .parquet; an existing one is replaced.
        vocabulary_release: of the concepts, as `omop-emb vocabulary status` shows it, with which `index
            import` compares the loaded one; None if it has no name, which `index import` does not compare.
        synonyms: with the columns of CONCEPT_SYNONYM; needed unless the recipe has no synonyms.
        recipe: which concepts and texts are embedded; None is that of `omop-emb index build`.
        client: whose model and prefixes every worker uses; None is EmbeddingClient().
        counts: what counts texts and failures.

    Raises:
        InputError: a column or the synonyms are missing, a concept is there twice, no text is left, or the
            file cannot be written.
    """
    functions, recipe = _functions(), recipe or Recipe()
    check_space_file_name(Path(path))
    fingerprint = (client or EmbeddingClient()).fingerprint
    texts = _concept_texts(functions, concepts, synonyms, recipe)
    enough = ceil(texts.count() * (2 * fingerprint.dimensions + _TEXT_BYTES) / _MOST_PARTITION_BYTES)
    partitions = max(enough, concepts.sparkSession.sparkContext.defaultParallelism)
    work = partial(space_batches, fingerprint=fingerprint, template=recipe.template, counts=counts)
    schema = _schema({name: _TYPES.get(name, "string") for name in (*TEXT_COLUMNS, "embedding", "error")})
    # Equal texts come one after the other, and are embedded once.
    divided = texts.repartition(partitions, "text").sortWithinPartitions("text", "concept_id", "text_kind")
    rows = divided.mapInPandas(work, schema).persist()
    try:
        failed = rows.where("error is not null").select("concept_id", "error").collect()
        embedded = rows.where("error is null").drop("error")
        metadata = SpaceMetadata.of_recipe(
            recipe, fingerprint=fingerprint, vocabulary_release=vocabulary_release, rows=embedded.count()
        )
        if not metadata.rows:
            raise InputError(f"{path} is not written: no text of the concepts can be embedded")
        write_space_file(Path(path), metadata, _file_batches(embedded, fingerprint.dimensions))
    finally:
        rows.unpersist()
    return EmbeddedConcepts(metadata, {row["concept_id"]: row["error"] for row in failed})


def _concept_texts(
    functions: Any, concepts: DataFrame, synonyms: DataFrame | None, recipe: Recipe
) -> DataFrame:
    """The columns of TEXT_COLUMNS but for the hash; the same rows as recipe.texts_query() gives."""
    details = [name for name in TEXT_COLUMNS if name not in ("text_kind", "text_hash", "text")]
    _check_columns(concepts, details)
    texts_only = [functions.col(name).cast("string").alias(name) for name in details]
    concept = (
        concepts.select(*texts_only)
        .replace("", None)
        .withColumn("concept_id", functions.col("concept_id").cast("int"))
        .where(_is_written(functions, "concept_name") & _condition(functions, recipe.concept_filter))
    )
    if repeated := concept.groupBy("concept_id").count().where("count > 1").first():
        raise InputError(f"concept {repeated['concept_id']} occurs twice: give each concept once")

    def texts(frame: DataFrame, kind: TextKind, column: str) -> DataFrame:
        named = functions.lit(kind.value).alias("text_kind"), functions.col(column).alias("text")
        return frame.select(*details, *named)

    found = texts(concept, TextKind.NAME, "concept_name")
    if "synonyms" in recipe.texts:
        if synonyms is None:
            raise InputError("the recipe has synonyms: give `synonyms`, or Recipe(texts='name')")
        _check_columns(synonyms, ["concept_id", "concept_synonym_name", "language_concept_id"])
        chosen = synonyms.where(
            functions.col("language_concept_id").isin(*recipe.synonym_languages)
            & _is_written(functions, "concept_synonym_name")
        ).select(functions.col("concept_id").cast("int"), "concept_synonym_name")
        joined = concept.join(chosen.distinct(), "concept_id").where("concept_synonym_name <> concept_name")
        found = found.unionByName(texts(joined, TextKind.SYNONYM, "concept_synonym_name"))
    if "codes" in recipe.texts:
        coded = concept.where(_is_written(functions, "concept_code")).where("concept_code <> concept_name")
        found = found.unionByName(texts(coded, TextKind.CODE, "concept_code"))
    return found


def _check_columns(frame: DataFrame, columns: Sequence[str]) -> None:
    if missing := [column for column in columns if column not in frame.columns]:
        raise InputError(f"a column {missing[0]!r} is needed; found {', '.join(frame.columns)}")


def _is_written(functions: Any, column: str) -> Column:
    return functions.col(column).rlike(r"(?U)\S")  # type: ignore[no-any-return] # Spark's functions


def _condition(functions: Any, concept_filter: ConceptFilter) -> Column:
    condition = functions.lit(True)
    for column, values in (
        ("domain_id", concept_filter.domains),
        ("vocabulary_id", concept_filter.vocabularies),
        ("concept_class_id", concept_filter.concept_classes),
        ("concept_id", concept_filter.concept_ids),
        ("standard_concept", ["S"] if concept_filter.standard_only else None),
    ):
        if values is not None:
            condition &= functions.col(column).isin(*values)
    if concept_filter.valid_only:
        condition &= functions.col("invalid_reason").isNull()
    return condition  # type: ignore[no-any-return] # Spark's functions


def _file_batches(frame: DataFrame, dimensions: int) -> Iterator[tuple[dict[str, list[Any]], HalfVectors]]:
    rows = frame.toLocalIterator(prefetchPartitions=True)
    while batch := list(islice(rows, _FILE_BATCH)):
        columns = {name: [row[name] for row in batch] for name in TEXT_COLUMNS}
        halves = np.frombuffer(b"".join(row["embedding"] for row in batch), "<f2")
        yield columns, halves.reshape(len(batch), dimensions)


def _functions() -> Any:
    try:
        from pyspark.sql import functions
    except ImportError as error:
        raise MissingExtraError("mapping with Spark", "spark") from error
    return functions
