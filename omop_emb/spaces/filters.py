"""Filters: a ConceptFilter as a condition on a space's row table, in SQL and in numpy."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from omop_emb.errors import UnknownValueError
from omop_emb.records import ConceptFilter
from omop_emb.vocabulary import reader
from omop_emb.vocabulary.spelling import closest_values

_KINDS = {"domain": "domains", "vocabulary": "vocabularies", "concept class": "concept_classes"}
# The casts let an empty list and a one-letter text find their operators.
_CLAUSES = {
    "domain": sql.SQL("domain = any(cast(%(domain)s as smallint[]))"),
    "vocabulary": sql.SQL("vocabulary = any(cast(%(vocabulary)s as smallint[]))"),
    "concept_class": sql.SQL("concept_class = any(cast(%(concept_class)s as smallint[]))"),
    "concept_id": sql.SQL("concept_id = any(cast(%(concept_id)s as integer[]))"),
    "standard": sql.SQL('standard = cast(%(standard)s as "char")'),
    "valid": sql.SQL("valid = cast(%(valid)s as boolean)"),
}

STANDARD_AND_VALID = {"standard", "valid"}  # the parameters of the filter that commands use by default


@dataclass(frozen=True)
class Condition:
    """A condition for SQL: its text, without "where", and its parameters."""

    text: sql.Composable
    parameters: dict[str, Any]

    @property
    def where(self) -> sql.Composable:
        """The condition as a where clause; empty where every row passes."""
        return sql.SQL("where {}").format(self.text) if self.parameters else sql.SQL("")


ALL_ROWS = Condition(sql.SQL("true"), {})


def filter_condition(connection: psycopg.Connection, concept_filter: ConceptFilter | None) -> Condition:
    """What a row must fulfil; ALL_ROWS for None or an empty filter."""
    if concept_filter is None or concept_filter.is_empty:
        return ALL_ROWS
    parameters: dict[str, Any] = {}
    for kind, name in _KINDS.items():
        labels: tuple[str, ...] | None = getattr(concept_filter, name)
        if labels is not None:
            parameters[kind.replace(" ", "_")] = _codes(connection, kind, labels)
    if concept_filter.concept_ids is not None:
        parameters["concept_id"] = list(concept_filter.concept_ids)
    if concept_filter.standard_only:
        parameters["standard"] = "S"
    if concept_filter.valid_only:
        parameters["valid"] = True
    return _condition(parameters)


def coded_condition(domain: int | None, *, standard_and_valid: bool) -> Condition:
    """The condition of a filter by the code of a domain, None for all, and to standard and valid concepts."""
    parameters: dict[str, Any] = {} if domain is None else {"domain": [domain]}
    return _condition(parameters | ({"standard": "S", "valid": True} if standard_and_valid else {}))


def restrict(condition: Condition, names: Collection[str]) -> Condition:
    """The condition on these columns alone."""
    return _condition({name: value for name, value in condition.parameters.items() if name in names})


def passing_rows(condition: Condition, rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """(n,) whether each row of tables.ROW_DTYPE fulfils the condition, as PostgreSQL would say."""
    passes = np.ones(len(rows), np.bool_)
    for name, value in condition.parameters.items():
        if name == "valid":
            passes &= rows["valid"]
        elif name == "standard":
            passes &= rows["standard"] == value.encode()
        else:
            passes &= np.isin(rows[name], value)
    return passes


def clauses(names: Iterable[str]) -> Iterator[sql.SQL]:
    """The clause of each of a condition's parameters."""
    return (_CLAUSES[name] for name in names)


def _condition(parameters: dict[str, Any]) -> Condition:
    if not parameters:
        return ALL_ROWS
    return Condition(sql.SQL(" and ").join(clauses(parameters)), parameters)


def _codes(connection: psycopg.Connection, kind: str, labels: tuple[str, ...]) -> list[int]:
    codes: dict[str, int] = dict(
        connection.execute("select label, code from omop_emb.label where kind = %s", (kind,)).fetchall()
    )
    without_code = [label for label in labels if label not in codes]
    if without_code:
        # A value that the vocabulary has and no space embeds is no error: nothing matches it.
        existing = {*codes, *reader.existing_values(connection, kind)}
        for label in without_code:
            if label not in existing:
                raise UnknownValueError(kind, label, closest_values(label, existing))
    return [codes[label] for label in labels if label in codes]
