"""Batches: terms mapped batch by batch, the next one begun while the current one is finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from omop_emb.mapping.files.journal import Journal
from omop_emb.mapping.records import MappedTerm, SourceTerm

_Pending = TypeVar("_Pending")


def map_in_batches(
    terms: Iterable[SourceTerm],
    finish: Callable[[_Pending], Sequence[MappedTerm]],
    *,
    begin: Callable[[Sequence[SourceTerm]], _Pending],
    batch_size: int,
    journal: Journal | None = None,
) -> Iterator[MappedTerm]:
    """The mapped terms in order: first those in the journal, then the rest, batch by batch.

    Args:
        terms: all terms of the input, including those in the journal.
        finish: turns a begun batch into one result per term, in the same order.
        begin: starts a batch; called for the next batch before finish is called for the current one.
        batch_size: terms per batch at most, 1 or more.
        journal: open; gets every batch before its results are yielded.

    Raises:
        ValueError: finish gave another number of results.
    """
    remaining = iter(terms)
    if journal is not None:
        done = journal.done
        yield from journal.replay()
        next(islice(remaining, done, done), None)
    batches = iter(lambda: list(islice(remaining, batch_size)), [])
    batch = next(batches, [])
    pending = begin(batch) if batch else None
    while pending is not None:
        next_batch = next(batches, [])
        next_pending = begin(next_batch) if next_batch else None
        results = finish(pending)
        if len(results) != len(batch):
            raise ValueError(f"{len(batch)} terms gave {len(results)} results")
        if journal is not None:
            journal.append(results)
        yield from results
        batch, pending = next_batch, next_pending
