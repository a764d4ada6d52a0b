"""Terms mapped batch by batch: the next one is begun while one is finished, and what is done is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol, TypeVar

from omop_emb.mapping.records import MappedTerm, SourceTerm

_Begun = TypeVar("_Begun")


class Kept(Protocol):
    """Where results are kept, so that an interrupted run can go on (see files/journal.py).

    Attributes:
        done: how many terms it has.
    """

    done: int

    def replay(self) -> Iterator[MappedTerm]:
        """The results that it has, in order."""
        ...

    def append(self, batch: Sequence[MappedTerm]) -> None:
        """Add a batch."""
        ...


def map_in_batches(
    terms: Iterable[SourceTerm],
    finish: Callable[[_Begun], Sequence[MappedTerm]],
    *,
    begin: Callable[[Sequence[SourceTerm]], _Begun],
    batch_size: int,
    journal: Kept | None = None,
) -> Iterator[MappedTerm]:
    """The mapped terms, in order: first those that the journal has, then the rest, batch by batch.

    Args:
        terms: all terms of the input, also those that are in the journal.
        finish: turns what begin gave for a batch into one result a term, same order.
        begin: starts a batch; it is called for the next one before finish is for the present.
        batch_size: at most so many terms at a time, 1 or more.
        journal: open; every batch is in it before its results are handed out.

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
    begun = begin(batch) if batch else None
    while begun is not None:
        following = next(batches, [])
        coming = begin(following) if following else None
        results = finish(begun)
        if len(results) != len(batch):
            raise ValueError(f"{len(batch)} terms gave {len(results)} results")
        if journal is not None:
            journal.append(results)
        yield from results
        batch, begun = following, coming
