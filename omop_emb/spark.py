"""Spark: terms mapped and texts embedded by a cluster's workers, without a database.

`map_batches()` and `embed_batches()` are what a worker runs: plain functions of pandas frames, which Ray Data
and Dask can run as well. `map_terms()` and `embed_texts()` run them with Spark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import (
    InputError,
    MissingExtraError,
    SpaceMismatchError,
    TextRejectedError,
    checked_keywords,
)
from omop_emb.mapping.mapper import BATCH_SIZE
from omop_emb.mapping.records import MappedTerm, SourceTerm
from omop_emb.mapping.settings import Settings
from omop_emb.records import EmbeddingRole, Fingerprint
from omop_emb.service.bundle import Bundle, check_bundle, open_bundle

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

KEYS = ("name", "code", "domain", "source_vocabulary")
"""Columns of a term; terms that are equal in all of them are mapped once."""

_CONCEPT = ("concept_id", "concept_name", "domain_id", "vocabulary_id", "concept_class_id", "concept_code")
RESULTS = {
    **dict.fromkeys(_CONCEPT, "string"),
    "concept_id": "bigint",
    "score": "double",
    "probability": "double",
    "decision": "string",
    "reason": "string",
    "flags": "string",
    "targets": "array<bigint>",
    "error": "string",
}
"""Columns that mapping adds, with Spark's types: the first candidate, the decision, the concepts that the
term maps to under it, and, for a term that could not be mapped, why not."""

_EMBED_BATCH = 1_000  # texts; the model's own batches are smaller


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


@cache
def _bundle(path: str, digest: str | None) -> Bundle:
    """The bundle of this process, opened once."""
    return open_bundle(path, digest=digest)


@checked_keywords
def map_batches(
    frames: Iterable[pd.DataFrame],
    *,
    bundle: str,
    digest: str | None = None,
    settings: Settings | None = None,
    counts: Counts | None = None,
) -> Iterator[pd.DataFrame]:
    """Each frame with the columns of RESULTS; what a worker runs.

    Args:
        frames: with columns `name` and those of KEYS that there are; missing values are "".
        bundle: the path of a bundle, which each process opens once.
        digest: that it must have; None accepts any.
        settings: how terms are mapped.
        counts: what counts terms and failures.

    Raises:
        InputError: there is no such bundle, or a frame has no column `name`.
        ProviderError: the model cannot be used; trying again may help.
    """
    opened = _bundle(bundle, digest)
    for frame in frames:
        rows: list[dict[str, Any]] = []
        terms = _terms(frame)
        for start in range(0, len(terms), BATCH_SIZE):
            rows += _map_batch(opened, terms[start : start + BATCH_SIZE], settings)
        yield _with_columns(frame, rows, RESULTS)
        if counts is not None:
            counts.add(len(rows), sum(row["error"] is not None for row in rows))


def _terms(frame: pd.DataFrame) -> list[SourceTerm]:
    if "name" not in frame.columns:
        raise InputError(f"a column 'name' is needed; found {', '.join(map(str, frame.columns))}")
    columns = {key: _texts(frame[key]) for key in KEYS if key in frame.columns}
    return [SourceTerm(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def _texts(column: pd.Series) -> list[str]:
    """A column's values as texts, "" for a missing one."""
    return ["" if is_na else str(one) for one, is_na in zip(column, column.isna(), strict=True)]


def _map_batch(
    bundle: Bundle, terms: Sequence[SourceTerm], settings: Settings | None
) -> list[dict[str, Any]]:
    """One row per term; those that fail are found one by one."""
    can_be_mapped = [bool(term.name.strip() or term.code.strip()) for term in terms]
    named = [term for term, is_one in zip(terms, can_be_mapped, strict=True) if is_one]
    try:
        mapped = iter([_result(one) for one in bundle.map(named, settings=settings)])
    except (InputError, TextRejectedError) as error:
        if len(terms) == 1:
            return [{**dict.fromkeys(RESULTS), "error": str(error)}]
        return [row for term in terms for row in _map_batch(bundle, [term], settings)]
    unnamed = {**dict.fromkeys(RESULTS), "error": "it has neither a name nor a code"}
    return [next(mapped) if is_one else unnamed for is_one in can_be_mapped]


def _result(mapped: MappedTerm) -> dict[str, Any]:
    best = mapped.best
    return {
        **{name: getattr(best, name, None) for name in (*_CONCEPT, "score")},
        "probability": mapped.probability,
        "decision": mapped.decision.value,
        "reason": mapped.reason,
        "flags": "; ".join(best.flags) if best else "",
        "targets": list(mapped.targets),
        "error": None,
    }


def _with_columns(frame: pd.DataFrame, rows: Sequence[dict[str, Any]], names: Iterable[str]) -> pd.DataFrame:
    import pandas as pd

    columns = {name: pd.Series([row[name] for row in rows], frame.index, dtype=object) for name in names}
    return frame.assign(**columns)


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
    if settings is not None and settings.includes_non_standard:
        raise InputError("a bundle holds standard and valid concepts only")
    keys = [key for key in KEYS if key in df.columns]
    if "name" not in keys:
        raise InputError(f"a column 'name' is needed; found {', '.join(df.columns)}")
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
    schema = ", ".join(
        [*(f"{key} string" for key in keys), *(f"{key} {kind}" for key, kind in RESULTS.items())]
    )
    mapped = _divided(terms, keys, partitions).mapInPandas(work, schema)
    renamed = mapped.select(
        *(functions.col(key).alias(name) for key, name in zip(keys, named, strict=True)), *RESULTS
    )
    conditions = [one == functions.col(name) for one, name in zip(cleaned, named, strict=True)]
    return df.join(renamed, conditions, "left").drop(*named)


def _divided(frame: DataFrame, keys: Sequence[str], partitions: int | None) -> DataFrame:
    """Partitions whose rows are the same, in the same order, however often they are computed."""
    count = partitions or frame.sparkSession.sparkContext.defaultParallelism
    return frame.repartition(count, *keys).sortWithinPartitions(*keys)


@cache
def _client(**values: Any) -> EmbeddingClient:
    """The client of this process that embeds as the driver's does."""
    fingerprint = Fingerprint(**values)
    client = EmbeddingClient.for_fingerprint(fingerprint)
    if differences := client.fingerprint.differences(fingerprint):
        raise SpaceMismatchError(f"this worker's model is not the driver's: {'; '.join(differences)}")
    return client


@checked_keywords
def embed_batches(
    frames: Iterable[pd.DataFrame],
    *,
    fingerprint: Fingerprint,
    embedding_role: EmbeddingRole,
    column: str = "text",
    counts: Counts | None = None,
) -> Iterator[pd.DataFrame]:
    """Each frame with the columns `embedding` (unit length) and `error`; what a worker runs."""
    client = _client(**asdict(fingerprint))
    for frame in frames:
        texts = _texts(frame[column])
        rows: list[dict[str, Any]] = []
        for start in range(0, len(texts), _EMBED_BATCH):
            rows += _embed_batch(client, texts[start : start + _EMBED_BATCH], embedding_role)
        yield _with_columns(frame, rows, ("embedding", "error"))
        if counts is not None:
            counts.add(len(rows), sum(row["error"] is not None for row in rows))


def _embed_batch(client: EmbeddingClient, texts: list[str], role: EmbeddingRole) -> list[dict[str, Any]]:
    try:
        vectors = client.embeddings(texts, embedding_role=role)
    except (InputError, TextRejectedError) as error:
        if len(texts) == 1:
            return [{"embedding": None, "error": str(error)}]
        return [row for text in texts for row in _embed_batch(client, [text], role)]
    return [{"embedding": vector, "error": None} for vector in vectors]


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
    if column not in df.columns:
        raise InputError(f"a column {column!r} is needed; found {', '.join(df.columns)}")
    work = partial(
        embed_batches,
        fingerprint=(client or EmbeddingClient()).fingerprint,
        embedding_role=EmbeddingRole.parse(embedding_role, "embedding_role"),
        column=column,
        counts=counts,
    )
    texts = df.select(functions.col(f"`{column}`").cast("string").alias(column)).distinct()
    schema = f"`{column}` string, embedding array<float>, error string"
    return _divided(texts, [column], partitions).mapInPandas(work, schema)


def _functions() -> Any:
    try:
        from pyspark.sql import functions
    except ImportError as error:
        raise MissingExtraError("mapping with Spark", "spark") from error
    return functions
