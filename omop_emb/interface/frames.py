"""Data frames: the nearest concepts of a pandas column, in new columns of a copy of the frame."""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import nullcontext
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from omop_emb.database.engine import session_scope
from omop_emb.errors import InputError, checked_keywords
from omop_emb.interface.interface import EmbeddingInterface
from omop_emb.providers.batching import BLANK_TEXT, rejection_reason
from omop_emb.records import ConceptFilter, ConceptMatch, IndexType, MetricType

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

_FIELDS = tuple(field.name for field in fields(ConceptMatch))
_DTYPES = {"rank": "Int64", "concept_id": "Int64", "distance": "float64", "similarity": "float64"}


@checked_keywords
def nearest_concepts_frame(
    frame: pd.DataFrame,
    *,
    column: Hashable,
    session: Session | Connection | None = None,
    interface: EmbeddingInterface | None = None,
    index_type: IndexType | str | None = None,
    metric_type: MetricType | str = MetricType.COSINE,
    k: int = 1,
    concept_filter: ConceptFilter | None = None,
    recall: float | None = None,
    exact: bool = False,
    prefix: str = "",
) -> pd.DataFrame:
    """A copy of the frame with the k nearest concepts of a column's texts in new columns on its right.

    Rows keep their order, index, columns and dtypes. With k above 1 a row is repeated for each of its
    concepts. A row whose text is missing (None, NaN, NA) or blank appears once, without a concept; so does
    one for which no concept passes the filter.

    The new columns are `rank` (from 1, Int64), `concept_id` (Int64), `concept_name`, `domain_id`,
    `vocabulary_id`, `concept_class_id`, `standard_concept`, `concept_code`, `matched_text` (string),
    `distance` and `similarity` (float64); missing values are NA, in the last two NaN.

    Args:
        frame: is not changed.
        column: the column of texts, whatever its dtype; each distinct text is embedded and searched once.
        session: whose transaction is used; None: one of its own, in the database of the environment.
        interface: searches; None: EmbeddingInterface(), the active space.
        index_type: as for get_nearest_concepts_from_query_texts, like all that follow.
        metric_type: the distance that ranks and is reported.
        k: how many concepts for each row.
        concept_filter: which concepts may be found; None lets all through.
        recall: the mean share of the true nearest that an index must find.
        exact: find exactly the nearest.
        prefix: put before the names of the new columns.

    Raises:
        InputError: there is no such column, it holds something that is neither a text nor missing, or the
            frame already has a column with the name of a new one.
    """
    import pandas as pd

    names = {name: f"{prefix}{name}" for name in ("rank", *_FIELDS)}
    existing = [name for name in names.values() if name in frame.columns]
    if existing:
        raise InputError(
            f"the frame already has a column {existing[0]!r}: give a prefix, such as prefix='nearest_'"
        )
    texts = _texts(frame, column)
    with session_scope() if session is None else nullcontext(session) as used_session:
        matches_of_texts = (interface or EmbeddingInterface()).get_nearest_concepts_from_query_texts(
            session=used_session,
            index_type=index_type,
            query_texts=[text for text in texts if text is not None],
            metric_type=metric_type,
            k=k,
            concept_filter=concept_filter,
            recall=recall,
            exact=exact,
        )
    next_matches = iter(matches_of_texts)
    rows: list[int] = []
    values: dict[str, list[Any]] = {name: [] for name in names}
    for row, text in enumerate(texts):
        matches: list[ConceptMatch] = [] if text is None else next(next_matches)
        for rank, match in enumerate(matches, 1) if matches else [(None, None)]:
            rows.append(row)
            values["rank"].append(rank)
            for name in _FIELDS:
                values[name].append(None if match is None else getattr(match, name))
    result = frame.iloc[rows].copy()
    array: Any = pd.array  # its stubs know dtypes only as literals
    for name, column_values in values.items():
        result[names[name]] = array(column_values, dtype=_DTYPES.get(name, "string"))
    return result


def _texts(frame: pd.DataFrame, column: Hashable) -> list[str | None]:
    import pandas as pd

    count = sum(name == column for name in frame.columns)
    if count != 1:
        columns = ", ".join(map(repr, frame.columns[:20]))
        count_text = f"has {count} columns" if count else "has no column"
        raise InputError(f"the frame {count_text} {column!r}; its columns are {columns}")
    texts: list[str | None] = []
    for row, value in enumerate(frame[column].tolist()):
        if pd.api.types.is_scalar(value) and pd.isna(value):
            texts.append(None)
            continue
        reason = rejection_reason(value, row)
        if reason not in (None, BLANK_TEXT):
            raise InputError(f"row {row} of column {column!r} cannot be embedded: {reason}")
        texts.append(value if reason is None else None)
    return texts
