"""Mapper: terms mapped with a database's vocabulary, a space and a site's approvals, from Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np

import omop_emb
from omop_emb.arrays import Vectors
from omop_emb.database.engine import driver_connection, readable_errors
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import ConfigurationError, InputError
from omop_emb.mapping.approvals.reuse import CheckedMappings
from omop_emb.mapping.approvals.site_memory import read_memory
from omop_emb.mapping.approvals.sites import unknown_site_note
from omop_emb.mapping.engine import Engine, PendingBatch
from omop_emb.mapping.files.journal import Journal
from omop_emb.mapping.ranking import ranker_store
from omop_emb.mapping.ranking.linear import default_ranker
from omop_emb.mapping.ranking.ranker import Ranker
from omop_emb.mapping.records import MappedTerm, Provenance, SourceTerm
from omop_emb.mapping.retrieval.term_values import TermValues
from omop_emb.mapping.retrieval.vocabulary_index import open_dense_index, open_vocabulary_index
from omop_emb.mapping.settings import Settings
from omop_emb.mapping.term_frames import source_terms
from omop_emb.records import EmbeddingRole
from omop_emb.spaces import registry
from omop_emb.spaces.release import release_warning
from omop_emb.spaces.space_client import client_of
from omop_emb.vocabulary import reader

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

BATCH_SIZE = 150
"""Terms per batch unless the caller chooses: few, because each has hundreds of candidates."""
DEFAULT_SITE = "default"
"""The site whose memory and ranker are used unless another is named."""
_Pending = TypeVar("_Pending")
_Batch = tuple[list[MappedTerm | None], Future[PendingBatch]]  # results that are reused, the rest
_CACHED_TEXTS = 10_000  # one variant in six occurs again in a later term


class Mapper:
    """Maps terms with what open_mapper() has read; it needs no database.

    Attributes:
        engine: vocabulary, vectors, ranker and memory.
        space: the embedding space in use.
        settings: how terms are mapped.
        provenance: what every result is marked with.
        warnings: lines about an unknown site, and about a space of another release than the loaded one.
        values: spells the domains and vocabularies of terms, and counts what it changed.
    """

    def __init__(
        self,
        engine: Engine,
        space: registry.Space,
        settings: Settings,
        provenance: Provenance,
        *,
        warnings: Sequence[str] = (),
    ) -> None:
        self.engine, self.space, self.settings, self.provenance = engine, space, settings, provenance
        self.values, self.warnings = TermValues(engine.lexicon), warnings
        self._background = ThreadPoolExecutor(1, "omop-emb-candidates")  # starts its thread at first use

    def close(self) -> None:
        """Stop the background thread; no more terms can be mapped."""
        self._background.shutdown()

    @property
    def notes(self) -> list[str]:
        """What the user should know before reading the results."""
        notes = list(self.warnings)
        if self.settings.includes_non_standard:
            notes.append(
                "non-standard concepts are candidates: they are marked by a flag, have no probabilities and "
                f"are never accepted; those that space {self.space.name!r} does not embed are found by "
                "spelling alone"
            )
        elif not self.settings.has_learned_probabilities:
            notes.append(
                "probabilities were learned without such a filter: where it excludes the right concept "
                "they are too high"
            )
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
            mapped = iter(self.engine.finish(pending.result(), self.settings, self.provenance))
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


@contextmanager
def open_mapper(
    session: Session | Connection,
    *,
    client: EmbeddingClient | None = None,
    space_name: str | None = None,
    site: str = DEFAULT_SITE,
    settings: Settings | None = None,
    use_memory: bool = True,
    use_own_ranker: bool = True,
) -> Iterator[Mapper]:
    """A mapper that has read vocabulary, space and approvals; closed when the block ends.

    All reading happens on entry, in the caller's transaction; nothing is committed.

    Args:
        session: the transaction to read in.
        client: its space is used, the active one first; None uses the active space.
        space_name: the space that is used instead.
        site: the site whose memory and ranker are used.
        settings: how terms are mapped.
        use_memory: whether approved names are searched too.
        use_own_ranker: whether the site's own ranker orders candidates, if it has one.

    Raises:
        VocabularyError: no vocabulary is loaded.
        SpaceNotFoundError: no space is active, or none has the client's fingerprint.
        SpaceError: the space's first build is not finished.
        ConfigurationError: the settings ask for acceptance that is not possible, or an earlier version
            made the site's ranker.
        UnknownValueError: the settings' filter names a domain, vocabulary or class that does not exist.
        InputError: no concept passes the filter.
    """
    settings = settings or Settings()
    with readable_errors():
        connection = driver_connection(session)
        fingerprint = None if client is None else client.fingerprint
        space = registry.answering_space(connection, fingerprint, space_name)
        embed = _QueryEmbedder(client or client_of(space))
        ranker: Ranker = default_ranker()
        if use_own_ranker:
            ranker = ranker_store.active_ranker(connection, site, space.fingerprint.digest) or ranker
        calibrated = ranker.calibration is not None and ranker.fingerprint == space.fingerprint.digest
        reader.check_filter(connection, settings.concept_filter)
        if settings.policy.accept_precision is not None and not settings.has_learned_probabilities:
            raise ConfigurationError(
                "--accept-precision cannot be used with --vocabulary, --concept-class or --any: "
                "probabilities were learned with all standard concepts as candidates; leave one of them out"
            )
        calibrated = calibrated and not settings.includes_non_standard
        settings.policy.check(ranker, calibrated=calibrated)
        use_memory = use_memory and ranker_store.has_mapping_tables(connection)
        index = open_vocabulary_index(connection, settings.concept_filter)
        passing = index.lexical.lexicon.passing(settings.concept_filter)
        if passing is not None and not passing.any():
            hint = "" if settings.includes_non_standard else "; --any includes non-standard concepts"
            raise InputError(f"no concept can be a candidate: {settings.filter_text}{hint}")
        memory = read_memory(connection, site, index.lexical, space, embed) if use_memory else None
        dense = open_dense_index(connection, space, index)
        tables = reader.vocabulary_tables(connection)
        outdated = release_warning(connection, space)
        site_note = unknown_site_note(connection, site) if site != DEFAULT_SITE else ""
    engine = Engine(
        index.lexical, index.attributes, dense, embed, ranker, calibrated=calibrated, memory=memory
    )
    provenance = Provenance(
        space_id=space.space_id,
        model=f"{space.fingerprint.provider}:{space.fingerprint.model}",
        fingerprint=space.fingerprint.digest,
        vocabulary=(tables.version if tables is not None else None) or "",
        ranker=ranker.name,
        calibrated=calibrated,
        accept_precision=settings.policy.accept_precision,
        accept_untrained=settings.policy.accept_untrained and not ranker.is_site_trained,
        version=omop_emb.__version__,
        concept_filter=settings.filter_text,
        space_vocabulary=None if outdated is None else space.vocabulary_release or "",
    )
    warnings = [line for line in (site_note, outdated) if line]
    with closing(Mapper(engine, space, settings, provenance, warnings=warnings)) as mapper:
        yield mapper


class _QueryEmbedder:
    """Texts -> (n, dimensions) unit rows as queries; the latest are cached, since terms share variants."""

    def __init__(self, client: EmbeddingClient) -> None:
        self._client = client
        self._cache: dict[str, Vectors] = {}

    def __call__(self, texts: list[str]) -> Vectors:
        missing = [text for text in dict.fromkeys(texts) if text not in self._cache]
        if missing:
            vectors = self._client.embeddings(missing, embedding_role=EmbeddingRole.QUERY)
            self._cache.update(zip(missing, vectors, strict=True))
        rows = np.stack([self._cache[text] for text in texts])
        for text in list(self._cache)[: max(0, len(self._cache) - _CACHED_TEXTS)]:
            del self._cache[text]
        return rows


def map_terms(
    session: Session | Connection,
    terms: Iterable[SourceTerm | str] | pd.DataFrame,
    *,
    client: EmbeddingClient | None = None,
    site: str = DEFAULT_SITE,
    settings: Settings | None = None,
) -> list[MappedTerm]:
    """Map source terms to standard concepts: one result per term, in the same order.

    Args:
        session: the transaction to read in; nothing is committed.
        terms: source terms, plain names, or a DataFrame with a column `name` and, optionally, `code`,
            `frequency`, `domain` and `source_vocabulary`.
        client: its space is used; None uses the active space.
        site: the site whose memory and ranker are used.
        settings: how terms are mapped.

    Raises:
        InputError: a term has neither a name nor a code, or the DataFrame has no column `name`.
        OmopEmbError: as open_mapper().
    """
    listed = source_terms(terms)
    with open_mapper(session, client=client, site=site, settings=settings) as mapper:
        return list(mapper.map(listed))
