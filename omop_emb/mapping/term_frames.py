"""DataFrames of terms: source terms from one, mapped terms as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from omop_emb.errors import InputError, checked_keywords
from omop_emb.mapping.files.frequency import read_frequency
from omop_emb.mapping.files.plain_text import plain_text
from omop_emb.mapping.records import MappedTerm, SourceTerm, value_row

if TYPE_CHECKING:
    import pandas as pd

_CANDIDATE_FIELDS = ("concept_id", "concept_name", "domain_id", "vocabulary_id", "concept_code", "score")


def source_terms(terms: Iterable[SourceTerm | str] | pd.DataFrame) -> list[SourceTerm]:
    """Source terms from plain names or a DataFrame, see map_terms(); other columns become `extra`.

    Raises:
        InputError: these are no terms, or the DataFrame has no column `name`; names the first wrong one.
    """
    import pandas as pd

    if isinstance(terms, pd.DataFrame):
        return _frame_terms(terms)
    given: Any = terms
    if isinstance(given, str | bytes | SourceTerm | Mapping) or not isinstance(given, Iterable):
        raise InputError(f"terms must be a list of texts or SourceTerms; found one {type(given).__name__}")
    result = []
    for position, term in enumerate(given):
        if not isinstance(term, str | SourceTerm):
            found = "a missing value" if _is_missing(term) else type(term).__name__
            raise InputError(f"terms[{position}] is a text or a SourceTerm; found {found}")
        result.append(SourceTerm(name=str(term)) if isinstance(term, str) else term)
    return result


def _frame_terms(frame: pd.DataFrame) -> list[SourceTerm]:
    if "name" not in frame.columns:
        raise InputError(f"a column 'name' is needed; found {', '.join(map(str, frame.columns))}")
    if repeated := frame.columns[frame.columns.duplicated()].tolist():
        raise InputError(f"column {str(repeated[0])!r} appears twice: rename one of them")
    result = []
    for position, row in enumerate(frame.to_dict("records")):
        values = {str(key): plain_text(value) for key, value in row.items() if not _is_missing(value)}
        known: dict[str, Any] = {
            name: values.pop(name)
            for name in ("name", "code", "domain", "source_vocabulary")
            if name in values
        }
        try:
            frequency = read_frequency(values.pop("frequency", ""))
        except InputError as error:
            raise InputError(f"terms[{position}]: {error}; leave it out") from error
        result.append(SourceTerm(**{"name": "", **known}, frequency=frequency, extra=values))
    return result


def _is_missing(value: object) -> bool:
    """Whether a value is None, NaN, NaT or pandas' NA."""
    import pandas as pd

    return value is None or value is pd.NA or value is pd.NaT or bool(value != value)


@checked_keywords
def to_frame(mapped: Iterable[MappedTerm]) -> pd.DataFrame:
    """A DataFrame with one row per term: its first candidate, probability, decision and reason."""
    import pandas as pd

    rows = [
        {
            "name": result.term.name,
            "code": result.term.code,
            "frequency": result.term.frequency,
            **{name: getattr(result.best, name, None) for name in _CANDIDATE_FIELDS},
            **value_row(result.mapped_values),
            "probability": result.probability,
            "decision": result.decision.value,
            "reason": result.reason,
            "flags": "; ".join(result.best.flags) if result.best else "",
            "priority": result.priority,
        }
        for result in mapped
    ]
    return pd.DataFrame(rows).astype({"concept_id": "Int64"}) if rows else pd.DataFrame()
