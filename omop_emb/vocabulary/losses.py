"""Losses of a new release: what it holds less of than the active one, refused above a fifth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import tuple_row
from psycopg.sql import SQL

from omop_emb.database.fetch import fetch_value
from omop_emb.errors import ShrinkError
from omop_emb.sql import read
from omop_emb.vocabulary.layout import release_tables
from omop_emb.vocabulary.releases import Release

MAX_LOSS = 0.2  # the share that may be lost without a question
_MIN_CONCEPTS = 20  # vocabularies and domains of fewer vary by more than that from release to release
_TABLES = ("concept", "concept_synonym", "concept_relationship", "concept_ancestor")
_SAMPLE = "sample-vocabulary"  # a slice of a vocabulary, which a whole one need not contain
_MAX_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Loss:
    """Something of which a release has over a fifth less than the one before it."""

    what: str  # such as "concepts", "standard concepts", "vocabulary SNOMED", "domain Drug"
    before: int
    after: int
    is_refused: bool  # whether it needs --allow-shrink; domains change when concepts are classified anew

    def __str__(self) -> str:
        return f"{self.what} {self.before:,} -> {self.after:,}"


def find_losses(connection: psycopg.Connection[Any], before: Release, release_id: int) -> list[Loss]:
    """What a loaded release has over a fifth less of than an earlier one, the whole first."""
    losses = []
    cursor = connection.cursor(row_factory=tuple_row)
    parameters = {"before": before.release_id, "after": release_id}
    standard = [
        fetch_value(connection, SQL(read("vocabulary_standard_concepts")).format(**release_tables(number)))
        for number in (before.release_id, release_id)
    ]
    counts = [
        ("table", "standard concept", *standard),
        *cursor.execute(read("vocabulary_counts"), parameters),
    ]
    for kind, name, old, new in sorted(counts, key=lambda row: row[:2] != ("table", "concept")):
        if not is_loss(old, new):
            continue
        if kind == "table":
            if name in (*_TABLES, "standard concept"):
                losses.append(Loss(_plural(name), old, new, _is_whole(name) or not _is_sample(before)))
        elif old >= _MIN_CONCEPTS:
            losses.append(Loss(f"{kind} {name}", old, new, kind == "vocabulary" and not _is_sample(before)))
    return losses


def is_loss(before: int, after: int) -> bool:
    """Whether over a fifth is lost."""
    return after < before * (1 - MAX_LOSS)


def check_losses(before: Release, losses: Sequence[Loss]) -> None:
    """Raise ShrinkError if one of the losses may not happen without a question."""
    refused = [loss for loss in losses if loss.is_refused]
    if refused:
        raise ShrinkError(
            f"this vocabulary is smaller than the loaded one, {before.label}: {listed(refused)}. Nothing was "
            "changed; check the download, or add --allow-shrink"
        )


def listed(losses: Sequence[Loss]) -> str:
    """Losses in one line."""
    more = f" and {len(losses) - _MAX_SHOWN} more" if len(losses) > _MAX_SHOWN else ""
    return ", ".join(map(str, losses[:_MAX_SHOWN])) + more


def _plural(name: str) -> str:
    return f"{name}s" if _is_whole(name) else f"rows of {name}"


def _is_whole(name: str) -> bool:
    return name in ("concept", "standard concept")


def _is_sample(release: Release) -> bool:
    return release.source == _SAMPLE
