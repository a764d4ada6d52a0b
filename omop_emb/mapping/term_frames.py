"""DataFrames of terms: source terms from one, mapped terms as one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from omop_emb.errors import InputError
from omop_emb.mapping.records import MappedTerm, SourceTerm, value_row

if TYPE_CHECKING:
    import pandas as pd

_CANDIDATE_FIELDS = ("concept_id", "concept_name", "domain_id", "vocabulary_id", "concept_code", "score")


def source_terms(terms: Iterable[SourceTerm | str] | pd.DataFrame) -> list[SourceTerm]:
    """Source terms from plain names or a DataFrame, see map_terms(); other columns become `extra`.

    Raises:
        InputError: the DataFrame has no column `name`.
    """
    import pandas as pd

    if not isinstance(terms, pd.DataFrame):
        return [SourceTerm(name=term) if isinstance(term, str) else term for term in terms]
    if "name" not in terms.columns:
        raise InputError(f"a column 'name' is needed; found {', '.join(map(str, terms.columns))}")
    result = []
    for row in terms.to_dict("records"):
        values = {str(key): value for key, value in row.items() if not pd.isna(value)}
        known: dict[str, Any] = {
            name: str(values.pop(name))
            for name in ("name", "code", "domain", "source_vocabulary")
            if name in values
        }
        if "frequency" in values:
            known["frequency"] = int(values.pop("frequency"))
        extra = {key: str(value) for key, value in values.items()}
        result.append(SourceTerm(**{"name": "", **known}, extra=extra))
    return result


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
