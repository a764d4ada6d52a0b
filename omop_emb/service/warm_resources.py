"""Warm resources: what mapping reads of a database, kept open and read again once it has changed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from itertools import count

import sqlalchemy
from sqlalchemy.orm import Session

from omop_emb.database.engine import short_transaction, waiting_session
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.mapping.resources import (
    Resources,
    read_resources,
    read_site_again,
)
from omop_emb.mapping.retrieval.mapping_state import differs_in_site_only, read_state
from omop_emb.mapping.retrieval.vocabulary_index import needed_index
from omop_emb.mapping.settings import Settings
from omop_emb.records import ConceptFilter
from omop_emb.spaces.recipe import STANDARD_AND_VALID
from omop_emb.spaces.registry import Space
from omop_emb.spaces.space_client import client_of

_KEPT_CLIENTS = 4  # with their models in memory
_KEPT_OTHERS = 2  # indexes of more than the standard and valid concepts; the latest stay in memory


class Question:
    """The moment at which something was asked, and the database's state from then or later."""

    def __init__(self, number: int, state: tuple[object, ...]) -> None:
        self.number, self.state = number, state


class _Slot:
    """The resources of one index, with the state that they were read in."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.resources: Resources | None = None
        self.read = Question(-1, ())

    def answers(self, question: Question) -> bool:
        """Whether nothing had changed when the question was asked, or what was read is of later."""
        return self.resources is not None and (
            self.read.number >= question.number or self.read.state == question.state
        )


class WarmResources:
    """Resources of the active space, and of spaces that are searched too, for a site; threads may share it.

    Whoever asks after a change has been committed gets resources of the changed state, and waits until they
    have been read; whoever asked before finishes with the earlier ones.

    Attributes:
        times_read: how often resources were read.
    """

    def __init__(
        self, engine: sqlalchemy.Engine, site: str, also_spaces: Sequence[str] | None = None
    ) -> None:
        self._engine, self._site, self._also_spaces = engine, site, also_spaces
        self.times_read = 0
        self._numbers = count()
        self._lock = threading.Lock()
        self._slots: OrderedDict[ConceptFilter, _Slot] = OrderedDict()
        self._clients: dict[str, EmbeddingClient] = {}

    def ask(self, session: Session) -> Question:
        """A question, asked now, in its own transaction."""
        number = next(self._numbers)
        with short_transaction(session) as connection:
            return Question(number, read_state(connection, self._site, self._also_spaces))

    def get(self, question: Question, settings: Settings) -> Resources:
        """The resources that answer a question with these settings; read first if need be.

        Raises:
            OmopEmbError: as open_mapper().
        """
        slot = self._slot(needed_index(settings.concept_filter))
        with slot.lock:
            if not slot.answers(question):
                with waiting_session(self._engine) as session:
                    slot.resources, slot.read = self._read(session, slot, settings)
                self.times_read += 1
            assert slot.resources is not None  # noqa: S101 - a slot that answers has some
            return slot.resources

    def _read(self, session: Session, slot: _Slot, settings: Settings) -> tuple[Resources, Question]:
        """What a slot lacks: all of it, or only what the site has approved or trained since."""
        read, earlier = self.ask(session), slot.resources
        if earlier is not None and differs_in_site_only(read.state, slot.read.state):
            again = read_site_again(
                session,
                earlier,
                settings,
                make_client=self._client_of,
                also_spaces=self._also_spaces,
                site=self._site,
            )
            return again, read
        resources = read_resources(
            session,
            settings,
            make_client=self._client_of,
            also_spaces=self._also_spaces,
            site=self._site,
        )
        return resources, read

    def clear(self) -> None:
        """Forget what was read."""
        with self._lock:
            self._slots.clear()
            self._clients.clear()

    def _slot(self, index: ConceptFilter) -> _Slot:
        with self._lock:
            slot = self._slots.setdefault(index, _Slot())
            self._slots.move_to_end(index)
            others = [key for key in self._slots if key != STANDARD_AND_VALID]
            for key in others[:-_KEPT_OTHERS]:
                del self._slots[key]
            return slot

    def _client_of(self, space: Space, *, is_further: bool = False) -> EmbeddingClient:
        """The space's client, with its model still loaded where it is the same; the latest few are kept."""
        with self._lock:
            digest = space.fingerprint.digest
            client = self._clients.pop(digest, None) or client_of(space, is_further=is_further)
            self._clients[digest] = client
            for oldest in list(self._clients)[:-_KEPT_CLIENTS]:
                del self._clients[oldest]
            return client
