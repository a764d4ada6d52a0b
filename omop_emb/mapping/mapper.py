"""Mapping terms against what a database holds: the calls for Python, and what the command uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import psycopg

import omop_emb
from omop_emb.database.engine import driver_connection, readable_errors
from omop_emb.embeddings.client import EmbeddingClient, EmbeddingRole
from omop_emb.errors import InputError, SpaceMismatchError, SpaceNotFoundError
from omop_emb.interface.space_client import client_of
from omop_emb.mapping.approvals import approval_store
from omop_emb.mapping.batches import map_in_batches
from omop_emb.mapping.engine import Begun, Engine
from omop_emb.mapping.features.names import NAMES
from omop_emb.mapping.ranking import ranker_store
from omop_emb.mapping.ranking.linear import Ranker, default_ranker
from omop_emb.mapping.records import MappedTerm, Provenance, SourceTerm
from omop_emb.mapping.retrieval import malloc, vocabulary_subset
from omop_emb.mapping.retrieval.load import (
    VocabularyIndex,
    kept_vocabulary,
    read_vectors,
    read_vectors_of,
    read_vocabulary,
)
from omop_emb.mapping.settings import Settings
from omop_emb.spaces import registry
from omop_emb.vocabulary import reader

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

BATCH = 150
"""Terms at a time unless another number is said: few, because each has hundreds of candidates."""
_KEPT_TEXTS = 10_000  # of which a vector is kept for later terms with the same form: one in six forms
SITE = "default"
"""The site whose memory and ranker are used unless another is named."""


class Mapper:
    """Maps terms with a database's vocabulary, its active space and a site's approvals.

    Everything is read into memory when it is made, within the caller's transaction; mapping itself needs
    the database no more. Nothing is committed.

    Args:
        session: whose transaction is used.
        client: whose space is used; None takes the active one.
        site: whose memory and ranker are used.
        settings: how terms are mapped.
        use_memory: whether approved names take part.
        terms: all that will be mapped, where they are known: for a few (near.FEW) only what is near them is
            read, if the whole vocabulary is not at hand already.
        use_own_ranker: whether the site's own ranker orders candidates, where it has one.

    Raises:
        VocabularyError: no vocabulary is loaded.
        SpaceNotFoundError: nothing is embedded.
        ConfigurationError: acceptance was asked for and cannot be given, or the site's ranker is of an
            earlier version.
    """

    def __init__(
        self,
        session: Session | Connection,
        *,
        client: EmbeddingClient | None = None,
        site: str = SITE,
        settings: Settings | None = None,
        use_memory: bool = True,
        terms: Sequence[SourceTerm] | None = None,
        use_own_ranker: bool = True,
    ) -> None:
        self.settings = settings or Settings()
        with readable_errors():
            connection = driver_connection(session)
            if client is None:
                space = registry.active_space(connection)
                client = client_of(space)
            else:
                space = _space_of(registry.all_spaces(connection), client)
            self.space, self.client, self.site = space, client, site
            self._embedded: dict[str, npt.NDArray[np.float32]] = {}
            self._background = ThreadPoolExecutor(1, "omop-emb-candidates")
            own = ranker_store.active(connection, site, space.fingerprint.digest) if use_own_ranker else None
            ranker = own or default_ranker(NAMES)
            calibrated = self._calibrated(ranker)
            self.settings.policy.check(ranker if calibrated else replace_calibration(ranker))
            use_memory = use_memory and ranker_store.exists(connection)
            index = self._vocabulary(connection, terms, use_memory)
            malloc.give_back()
            memory = (
                approval_store.memory_index(connection, site, index.lexical, space, self._embed)
                if use_memory
                else None
            )
            dense = (read_vectors_of if self._is_near else read_vectors)(connection, space, index)
            tables = reader.vocabulary_tables(connection)
        self.engine = Engine(
            index.lexical.lexicon,
            dense,
            self._embed,
            ranker,
            calibrated=calibrated,
            memory=memory,
            lexical=index.lexical,
            facts=index.facts,
        )
        policy = self.settings.policy
        self.provenance = Provenance(
            space_id=space.space_id,
            model=f"{space.fingerprint.provider}:{space.fingerprint.model}",
            fingerprint=space.fingerprint.digest,
            vocabulary=(tables.version if tables is not None else None) or "",
            ranker=ranker.name,
            calibrated=calibrated,
            accept_precision=policy.accept_precision,
            accept_untrained=policy.accept_untrained and not ranker.own,
            version=omop_emb.__version__,
        )

    def _vocabulary(
        self,
        connection: psycopg.Connection[Any],
        terms: Sequence[SourceTerm] | None,
        use_memory: bool,
    ) -> VocabularyIndex:
        """The whole vocabulary, or what is near a few terms."""
        self._is_near = False
        found = kept_vocabulary(connection)
        if found is not None:
            return found
        if terms is not None and vocabulary_subset.suits(terms):
            known = approval_store.approvals(connection, self.site) if use_memory else []
            found = vocabulary_subset.read_near(
                connection,
                self.space,
                terms,
                [approval.concept_id for approval in known],
                self._embed,
                rules=self.settings.rules,
                limit=self.settings.variants,
            )
            self._is_near = found is not None
        return found or read_vocabulary(connection)

    def _calibrated(self, ranker: Ranker) -> bool:
        return ranker.calibration is not None and ranker.fingerprint == self.space.fingerprint.digest

    def _embed(self, texts: list[str]) -> npt.NDArray[np.float32]:
        missing = [text for text in dict.fromkeys(texts) if text not in self._embedded]
        if missing:
            made = self.client.embeddings(missing, embedding_role=EmbeddingRole.QUERY)
            self._embedded.update(zip(missing, made, strict=True))
        rows = np.stack([self._embedded[text] for text in texts])
        for text in list(self._embedded)[: max(0, len(self._embedded) - _KEPT_TEXTS)]:
            del self._embedded[text]
        return rows

    @property
    def notes(self) -> list[str]:
        """What a person should know about this mapping."""
        if self.provenance.calibrated:
            return []
        return [
            f"space {self.space.name!r} is not calibrated: candidates are ordered, probabilities stay empty; "
            "run omop-emb calibrate APPROVED with mappings that you have approved"
        ]

    def begin(self, terms: Sequence[SourceTerm]) -> Future[Begun]:
        """Look a batch's candidates up in the background; finish() waits for them."""
        for place, term in enumerate(terms):
            if not term.name.strip() and not term.code.strip():
                raise InputError(f"terms[{place}] has neither a name nor a code")
        return self._background.submit(self.engine.begin, terms, self.settings)

    def finish(self, begun: Future[Begun]) -> list[MappedTerm]:
        """One result a term of a batch that was begun, in the same order."""
        return self.engine.finish(begun.result(), self.settings, self.provenance)

    def map(self, terms: Iterable[SourceTerm], *, batch_size: int = BATCH) -> Iterator[MappedTerm]:
        """The mapped terms one by one, in order; at most two batches are held at a time."""
        return map_in_batches(terms, self.finish, begin=self.begin, batch_size=batch_size)


def map_terms(
    session: Session | Connection,
    terms: Iterable[SourceTerm | str] | pd.DataFrame,
    *,
    client: EmbeddingClient | None = None,
    site: str = SITE,
    settings: Settings | None = None,
) -> list[MappedTerm]:
    """Map source terms to standard concepts: one result a term, in the same order.

    Args:
        session: whose transaction is used; nothing is committed.
        terms: source terms, plain names, or a DataFrame with a column `name` and, where there are,
            `code`, `frequency`, `domain` and `source_vocabulary`.
        client: whose space is used; None takes the active one.
        site: whose memory and ranker are used.
        settings: how terms are mapped.

    Raises:
        InputError: a term has neither a name nor a code, or the DataFrame has no column `name`.
    """
    listed = source_terms(terms)
    mapper = Mapper(session, client=client, site=site, settings=settings, terms=listed)
    return list(mapper.map(listed))


def source_terms(terms: Iterable[SourceTerm | str] | pd.DataFrame) -> list[SourceTerm]:
    """Source terms from plain names or a DataFrame; see map_terms.

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
        result.append(
            SourceTerm(
                name=str(values.pop("name", "")),
                code=str(values.pop("code", "")),
                frequency=int(values.pop("frequency")) if "frequency" in values else None,
                domain=str(values.pop("domain")) if "domain" in values else None,
                source_vocabulary=str(values.pop("source_vocabulary"))
                if "source_vocabulary" in values
                else None,
                extra={key: str(value) for key, value in values.items()},
            )
        )
    return result


def to_frame(mapped: Iterable[MappedTerm]) -> pd.DataFrame:
    """One row a term: what came in, its first candidate, probability, decision and reason."""
    import pandas as pd

    rows = []
    for result in mapped:
        best = result.best
        rows.append(
            {
                "name": result.term.name,
                "code": result.term.code,
                "frequency": result.term.frequency,
                "concept_id": best.concept_id if best else None,
                "concept_name": best.concept_name if best else None,
                "domain_id": best.domain_id if best else None,
                "vocabulary_id": best.vocabulary_id if best else None,
                "concept_code": best.concept_code if best else None,
                "score": best.score if best else None,
                "probability": result.probability,
                "decision": result.decision.value,
                "reason": result.reason,
                "flags": "; ".join(best.flags) if best else "",
                "priority": result.priority,
            }
        )
    return pd.DataFrame(rows).astype({"concept_id": "Int64"}) if rows else pd.DataFrame()


def replace_calibration(ranker: Ranker) -> Ranker:
    """The ranker without probabilities: what it is in a space that it was not trained for."""
    from omop_emb.mapping.ranking.linear import LinearRanker

    assert isinstance(ranker, LinearRanker)  # noqa: S101 - a site's ranker is stored by its space
    return replace(ranker, calibration=None)


def _space_of(listed: list[registry.Space], client: EmbeddingClient) -> registry.Space:
    matching = [space for space in listed if space.fingerprint == client.fingerprint]
    if matching:
        return matching[0]
    if not listed:
        raise SpaceNotFoundError("nothing is embedded here yet: run omop-emb index build")
    differing = "; ".join(
        f"{space.name!r}: {', '.join(space.fingerprint.differences(client.fingerprint))}" for space in listed
    )
    raise SpaceMismatchError(
        f"no space bears this client's fingerprint ({differing}): run omop-emb index build"
    )
