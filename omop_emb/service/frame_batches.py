"""Frame batches: what a worker of Spark, Ray Data or Dask runs, from pandas frames to pandas frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import InputError, SpaceMismatchError, TextRejectedError, checked_keywords
from omop_emb.mapping.mapper import BATCH_SIZE
from omop_emb.mapping.records import MappedTerm, SourceTerm
from omop_emb.mapping.settings import Settings
from omop_emb.records import EmbeddingRole, Fingerprint
from omop_emb.service.bundle import Bundle, open_bundle
from omop_emb.spaces.recipe import fill_template
from omop_emb.spaces.upsert import text_hash

if TYPE_CHECKING:
    import pandas as pd

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


class BatchCounts(Protocol):
    """What counts batches, on the worker that has done them."""

    def add(self, done: int, failed: int) -> None:
        """Count terms or texts, and those of them that have an error."""


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
    counts: BatchCounts | None = None,
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
        _count(rows, counts)


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
    counts: BatchCounts | None = None,
) -> Iterator[pd.DataFrame]:
    """Each frame with the columns `embedding` (unit length) and `error`; what a worker runs.

    Raises:
        SpaceMismatchError: this worker's model is another one.
        ProviderError: the model cannot be used; trying again may help.
    """
    client = _client(**asdict(fingerprint))
    for frame in frames:
        rows = _embedded(client, _texts(frame[column]), embedding_role)
        yield _with_columns(frame, rows, ("embedding", "error"))
        _count(rows, counts)


@checked_keywords
def space_batches(
    frames: Iterable[pd.DataFrame],
    *,
    fingerprint: Fingerprint,
    template: str,
    counts: BatchCounts | None = None,
) -> Iterator[pd.DataFrame]:
    """Each frame of concepts' texts as a space file has them, and `error`; what a worker runs.

    Args:
        frames: with TEXT_COLUMNS but for `text_hash`, which is added, as is `embedding`: half precision
            numbers of unit length, little-endian.
        fingerprint: of the model that embeds, as documents.
        template: what each text is embedded as, see Recipe.
        counts: what counts texts and failures.

    Raises:
        SpaceMismatchError, ProviderError: as embed_batches().
    """
    client = _client(**asdict(fingerprint))
    for frame in frames:
        plain = frame.astype(object).where(frame.notna(), None).itertuples(index=False)
        filled = [dict(zip(frame.columns, row, strict=True)) for row in plain]
        inputs = [fill_template(template, row["text"], row) for row in filled]
        rows = _embedded(client, inputs, EmbeddingRole.DOCUMENT)
        for row, text in zip(rows, inputs, strict=True):
            row["text_hash"] = text_hash(text)
            if row["embedding"] is not None:
                row["embedding"] = row["embedding"].astype("<f2").tobytes()
        yield _with_columns(frame, rows, ("text_hash", "embedding", "error"))
        _count(rows, counts)


def _embedded(client: EmbeddingClient, texts: Sequence[str], role: EmbeddingRole) -> list[dict[str, Any]]:
    """One row per text, with a vector or an error."""
    rows: list[dict[str, Any]] = [{"embedding": None, "error": None} for _ in texts]
    for part in client.embed_stream(texts, embedding_role=role):
        for position, vector in zip(part.positions, part.vectors, strict=True):
            rows[position]["embedding"] = vector
        for position, reason in part.failures.items():
            rows[position]["error"] = reason
    return rows


def _count(rows: Sequence[dict[str, Any]], counts: BatchCounts | None) -> None:
    if counts is not None:
        counts.add(len(rows), sum(row["error"] is not None for row in rows))
