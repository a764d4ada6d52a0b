"""Mapper: terms mapped with a database's vocabulary, a space and a site's approvals, from Python."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from omop_emb.database.engine import readable_errors
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import InputError, checked_keywords
from omop_emb.mapping.approvals.reuse import CheckedMappings
from omop_emb.mapping.engine import PendingBatch
from omop_emb.mapping.files.journal import Journal
from omop_emb.mapping.ranking.linear import FURTHER_WEIGHT
from omop_emb.mapping.ranking.prior_shift import NO_SHIFT, PriorShift
from omop_emb.mapping.records import MappedTerm, SourceTerm
from omop_emb.mapping.resources import DEFAULT_SITE as DEFAULT_SITE, Resources, read_resources
from omop_emb.mapping.retrieval.term_values import TermValues
from omop_emb.mapping.settings import Settings
from omop_emb.mapping.term_frames import source_terms

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

BATCH_SIZE = 150
"""Terms per batch unless the caller chooses: few, because each has hundreds of candidates."""
_Pending = TypeVar("_Pending")
_Batch = tuple[list[MappedTerm | None], Future[PendingBatch]]  # results that are reused, the rest


@checked_keywords
class Mapper:
    """Maps terms with what was read of a database; it needs none itself.

    Args:
        resources: vocabulary, vectors, ranker and memory; several mappers may share them.
        settings: how terms are mapped; the resources must be those that they need, see needed_index().

    Attributes:
        engine: what maps.
        space: the embedding space in use.
        further_spaces: those that are searched besides.
        settings: how terms are mapped.
        provenance: what every result is marked with.
        warnings: lines about an unknown site, and about a space of another release than the loaded one.
        values: spells the domains and vocabularies of terms, and counts what it changed.

    Raises:
        ConfigurationError: the settings ask for acceptance that is not possible.
        UnknownValueError: the settings' filter names a domain, vocabulary or class that does not exist.
        InputError: no concept passes the filter.
    """

    def __init__(self, resources: Resources, settings: Settings) -> None:
        resources.check(settings)
        self.engine, self.space, self.settings = resources.engine, resources.space, settings
        self.further_spaces = resources.further_spaces
        self.provenance, self.warnings = resources.provenance(settings), resources.warnings
        self.values = TermValues(self.engine.lexicon)
        self._shift = NO_SHIFT
        self._background = ThreadPoolExecutor(1, "omop-emb-candidates")  # starts its thread at first use

    def correct_probabilities(self, shift: PriorShift) -> None:
        """Correct those of all further results, which say so in their provenance."""
        self._shift = shift
        self.provenance = replace(self.provenance, correction=str(shift) if shift else "")

    def close(self) -> None:
        """Stop the background thread; no more terms can be mapped."""
        self._background.shutdown()

    @property
    def models(self) -> list[str]:
        """provider:model of every space in use."""
        fingerprints = (one.fingerprint for one in (self.space, *self.further_spaces))
        return [f"{one.provider}:{one.model}" for one in fingerprints]

    @property
    def notes(self) -> list[str]:
        """What the user should know before reading the results."""
        notes = list(self.warnings)
        if self.settings.includes_non_standard:
            notes.append(
                "non-standard concepts are candidates: they have a flag and no probabilities, and are "
                f"never accepted; those that space {self.space.name!r} lacks are found by spelling alone"
            )
        elif not self.settings.has_learned_probabilities:
            notes.append(
                "probabilities were learned without such a filter: they are too high where the filter "
                "excludes the right concept"
            )
        further = " and ".join(repr(one.name) for one in self.further_spaces)
        if further and self.engine.ranker.is_site_trained:
            notes.append(
                f"also searched: {further}, because the ranker {self.engine.ranker.name} learned with"
            )
        elif further:
            options = "".join(f" --also-space {shlex.quote(one.name)}" for one in self.further_spaces)
            return [
                *notes,
                f"also searched: {further}; the shipped ranker learned without, so each standard "
                f"deviation of a cosine there adds {FURTHER_WEIGHT:g} to a score, and there are no "
                f"probabilities: run omop-emb calibrate APPROVED{options} with mappings that people "
                "approved",
            ]
        if self.provenance.calibrated or self.settings.includes_non_standard:
            return notes
        return [
            *notes,
            f"space {self.space.name!r} is not calibrated: candidates are ranked but have no probabilities; "
            "run omop-emb calibrate APPROVED with mappings that you have approved",
        ]

    def map(
        self,
        terms: Iterable[SourceTerm],
        *,
        batch_size: int = BATCH_SIZE,
        previous: CheckedMappings | None = None,
        journal: Journal | None = None,
    ) -> Iterator[MappedTerm]:
        """The mapped terms one by one, in order; at most two batches are in memory at a time.

        Args:
            terms: including those in the journal.
            batch_size: terms per batch, 1 or more.
            previous: approved mappings, which are reused while their targets are valid.
            journal: open; gets every batch before its results are yielded, and supplies those it has.

        Raises:
            InputError: a term has neither a name nor a code.
        """

        def begin(batch: Sequence[SourceTerm]) -> _Batch:
            for number, term in enumerate(batch):
                if not term.name.strip() and not term.code.strip():
                    raise InputError(f"terms[{number}] has neither a name nor a code")
            batch = [self.values.spell(term) for term in batch]
            reused = [previous.reuse(term, self.provenance) if previous else None for term in batch]
            rest = [term for term, result in zip(batch, reused, strict=True) if result is None]
            return reused, self._background.submit(self.engine.begin, rest, self.settings)

        def finish(batch: _Batch) -> list[MappedTerm]:
            reused, pending = batch
            found = self.engine.finish(pending.result(), self.settings, self.provenance, self._shift)
            mapped = iter(found)
            results = [result or next(mapped) for result in reused]
            return results if previous is None else [previous.apply_to(result) for result in results]

        return map_in_batches(terms, finish, begin=begin, batch_size=batch_size, journal=journal)


def map_in_batches(
    terms: Iterable[SourceTerm],
    finish: Callable[[_Pending], Sequence[MappedTerm]],
    *,
    begin: Callable[[Sequence[SourceTerm]], _Pending],
    batch_size: int,
    journal: Journal | None = None,
) -> Iterator[MappedTerm]:
    """The mapped terms in order; the next batch is begun before the current one is finished.

    Raises:
        ValueError: finish gave another number of results than the batch has terms.
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


@checked_keywords
@contextmanager
def open_mapper(
    session: Session | Connection,
    *,
    client: EmbeddingClient | None = None,
    space_name: str | None = None,
    also_spaces: Sequence[str] | None = None,
    site: str = DEFAULT_SITE,
    settings: Settings | None = None,
    use_memory: bool = True,
    use_own_ranker: bool = True,
) -> Iterator[Mapper]:
    """A mapper that has read vocabulary, space and approvals; closed when the block ends.

    All reading happens on entry, in the caller's transaction, or in short ones of its own if there is none:
    then none is open while the model embeds.

    Args:
        session: the transaction to read in.
        client: its space is used, the active one first; None uses the active space.
        space_name: the space that is used instead.
        also_spaces: names of spaces that are searched too; None: those that the site's ranker learned with.
        site: the site whose memory and ranker are used.
        settings: how terms are mapped.
        use_memory: whether approved names are searched too.
        use_own_ranker: whether the site's own ranker orders candidates, if it has one.

    Raises:
        VocabularyError: no vocabulary is loaded.
        SpaceNotFoundError: no space is active, none has the client's fingerprint, or one of also_spaces does
            not exist.
        SpaceError: a space's first build is not finished, or a further one is of another vocabulary.
        ConfigurationError: the settings ask for acceptance that is not possible, or an earlier version
            made the site's ranker, or it learned with other further spaces.
        UnknownValueError: the settings' filter names a domain, vocabulary or class that does not exist.
        InputError: no concept passes the filter.
    """
    settings = Settings.parse(settings)
    with readable_errors():
        resources = read_resources(
            session,
            settings,
            client=client,
            space_name=space_name,
            also_spaces=also_spaces,
            site=site,
            use_memory=use_memory,
            use_own_ranker=use_own_ranker,
        )
    with closing(Mapper(resources, settings)) as mapper:
        yield mapper


@checked_keywords
def map_terms(
    session: Session | Connection,
    terms: Iterable[SourceTerm | str] | pd.DataFrame,
    *,
    client: EmbeddingClient | None = None,
    also_spaces: Sequence[str] | None = None,
    site: str = DEFAULT_SITE,
    settings: Settings | None = None,
) -> list[MappedTerm]:
    """Map source terms to standard concepts: one result per term, in the same order.

    Args:
        session: the transaction to read in; if it is in none, none is open while the model embeds.
        terms: source terms, plain names, or a DataFrame with a column `name` and, optionally, `code`,
            `frequency`, `domain` and `source_vocabulary`.
        client: its space is used; None uses the active space.
        also_spaces: names of spaces that are searched too; None: those that the site's ranker learned with.
        site: the site whose memory and ranker are used.
        settings: how terms are mapped.

    Raises:
        InputError: a term has neither a name nor a code, or the DataFrame has no column `name`.
        OmopEmbError: as open_mapper().
    """
    listed = source_terms(terms)
    with open_mapper(session, client=client, also_spaces=also_spaces, site=site, settings=settings) as mapper:
        return list(mapper.map(listed))
