"""EmbeddingInterface: concepts and queries go in as texts or vectors, nearest concepts come out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
from numpy.typing import ArrayLike, NDArray

from omop_emb import config, migrations, search, spaces, store, vectors, vocabulary
from omop_emb.database import driver_connection, readable_errors
from omop_emb.embeddings import EmbeddingClient
from omop_emb.errors import ConfigurationError, InputError, SpaceMismatchError
from omop_emb.records import (
    Concept,
    ConceptFilter,
    ConceptMatch,
    EmbeddingRole,
    Fingerprint,
    IndexType,
    MetricType,
    TextKind,
)
from omop_emb.spaces import Space
from omop_emb.store import Written

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session


class EmbeddingInterface:
    """Embeds concepts into PostgreSQL and finds the nearest ones of a text.

    With a client, it works in the space that bears the client's fingerprint: writing makes that space if
    need be, searching where there is none raises SpaceNotFoundError. Without one, the active space
    supplies model and prefixes, and `omop-emb index activate` switches it at its next call.

    Every method takes the caller's session (a SQLAlchemy Session or Connection on psycopg 3), works in
    its transaction and never commits: rolled back, nothing is left.
    """

    def __init__(self, client: EmbeddingClient | None = None) -> None:
        self._client = client
        self._active_client: EmbeddingClient | None = None

    def embed_texts(self, texts: Sequence[str], *, embedding_role: EmbeddingRole) -> NDArray[np.float32]:
        """The texts' vectors for a role: (n, dimensions) float32, rows of unit length, same order.

        Raises:
            ConfigurationError: this interface has no client; the active space's is known only where a
                session is given.
        """
        if self._client is None:
            raise ConfigurationError(
                "embed_texts needs a client, as without a session the active space cannot be asked for its "
                "model: use EmbeddingInterface(EmbeddingClient())"
            )
        return self._client.embeddings(texts, embedding_role=embedding_role)

    def embed_and_upsert_concepts(
        self,
        *,
        session: Session | Connection,
        index_type: IndexType,
        concept_ids: Sequence[int],
        concept_texts: Sequence[str],
    ) -> Written:
        """Embed concept texts as documents and write them; works on a fresh database.

        A concept id may stand in the call several times with several texts; these texts replace the
        concept's earlier ones. Nothing is committed.

        Args:
            session: whose transaction is used.
            index_type: which of the model's two spaces, FLAT or HNSW, is written; it is made if need be.
            concept_ids: OMOP concept ids, one per text.
            concept_texts: what is embedded, one per id; none may be blank.

        Raises:
            InputError: lengths differ, an id is not a 32-bit integer, or a text is blank or no text.
        """
        ids, texts = _checked(concept_ids, concept_texts)
        with readable_errors():
            connection = driver_connection(session)
            client = self._writing_client(connection)
            unique = list(dict.fromkeys(texts))
            place = {text: index for index, text in enumerate(unique)}
            embedded = client.embeddings(unique, embedding_role=EmbeddingRole.DOCUMENT)
            rows = embedded[[place[text] for text in texts]] if texts else embedded
            return self._write(connection, client.fingerprint, index_type, ids, texts, rows)

    def upsert_concept_embeddings(
        self,
        *,
        session: Session | Connection,
        index_type: IndexType,
        concept_ids: Sequence[int],
        concept_texts: Sequence[str],
        embeddings: ArrayLike,
    ) -> Written:
        """Write document vectors that the caller already has, as embed_and_upsert_concepts would.

        Args:
            session: whose transaction is used.
            index_type: which of the model's two spaces is written; it is made if need be.
            concept_ids: OMOP concept ids, one per text.
            concept_texts: the texts that were embedded, one per id.
            embeddings: (n, dimensions), made by this interface's model for DOCUMENT; rows are normalised.

        Raises:
            InputError: shapes do not fit, or a row is zero or not finite.
        """
        ids, texts = _checked(concept_ids, concept_texts)
        with readable_errors():
            connection = driver_connection(session)
            fingerprint = self._writing_client(connection).fingerprint
            rows = _unit_rows(embeddings, fingerprint.dimensions, count=len(ids))
            return self._write(connection, fingerprint, index_type, ids, texts, rows)

    def get_nearest_concepts_from_query_texts(
        self,
        *,
        session: Session | Connection,
        index_type: IndexType | None = None,
        query_texts: Sequence[str],
        metric_type: MetricType = MetricType.COSINE,
        k: int = 10,
        concept_filter: ConceptFilter | None = None,
    ) -> list[list[ConceptMatch]]:
        """The k nearest concepts of each text: one list per text, same order, nearest first.

        The texts are always embedded as queries. Each list has k entries whenever k concepts pass the
        filter; ties are broken by concept_id; a concept appears once, with the text that was hit.

        Args:
            session: whose transaction is used.
            index_type: FLAT searches exactly, HNSW through the space's index; None takes the space as it
                is indexed, with a client HNSW first.
            query_texts: free text; none may be blank.
            metric_type: the distance that ranks and is reported.
            k: how many concepts, at least 1.
            concept_filter: which concepts may be returned; None lets all through.

        Raises:
            SpaceNotFoundError: nothing is embedded with this client's model and prefixes.
            UnknownValueError: the filter names a domain, vocabulary or class that does not exist.
            InputError: a text is blank or no text.
        """
        with readable_errors():
            connection = driver_connection(session)
            space, client = self._reading_space(connection, index_type)
            unique = list(dict.fromkeys(query_texts))
            embedded = client.embeddings(unique, embedding_role=EmbeddingRole.QUERY)
            found = search.nearest_concepts(
                connection,
                space,
                embedded,
                metric_type=metric_type,
                index_type=index_type,
                k=k,
                concept_filter=concept_filter,
            )
            by_text = dict(zip(unique, found, strict=True))
            return [list(by_text[text]) for text in query_texts]

    def get_nearest_concepts(
        self,
        *,
        session: Session | Connection,
        index_type: IndexType | None = None,
        query_embeddings: ArrayLike,
        metric_type: MetricType = MetricType.COSINE,
        k: int = 10,
        concept_filter: ConceptFilter | None = None,
    ) -> list[list[ConceptMatch]]:
        """As get_nearest_concepts_from_query_texts, for query vectors that the caller already has.

        Args:
            session: whose transaction is used.
            index_type: FLAT searches exactly, HNSW through the space's index; None takes the space as it
                is indexed, with a client HNSW first.
            query_embeddings: (n, dimensions), made by the space's model for QUERY; rows are normalised.
            metric_type: the distance that ranks and is reported.
            k: how many concepts, at least 1.
            concept_filter: which concepts may be returned; None lets all through.
        """
        with readable_errors():
            connection = driver_connection(session)
            space, _ = self._reading_space(connection, index_type)
            queries = _unit_rows(query_embeddings, space.fingerprint.dimensions)
            return search.nearest_concepts(
                connection,
                space,
                queries,
                metric_type=metric_type,
                index_type=index_type,
                k=k,
                concept_filter=concept_filter,
            )

    def _write(
        self,
        connection: psycopg.Connection[Any],
        fingerprint: Fingerprint,
        index_type: IndexType,
        ids: list[int],
        texts: list[str],
        rows: NDArray[np.float32],
    ) -> Written:
        migrations.migrate(connection)
        space, made = spaces.ensure(connection, fingerprint, index_type)
        if made:
            spaces.activate(connection, space, only_if_none_is=True)
        concepts = vocabulary.concepts(connection, ids)
        named: dict[int, str] = {}
        for concept_id, text in zip(ids, texts, strict=True):
            named.setdefault(concept_id, text)
        described = [concepts.get(i) or Concept(i, named[i]) for i in ids]
        return store.upsert(
            connection,
            space,
            store.TextRows(
                concepts=described,
                kinds=[
                    TextKind.NAME if text == concept.concept_name else TextKind.SYNONYM
                    for concept, text in zip(described, texts, strict=True)
                ],
                texts=texts,
                text_hashes=store.text_hashes(texts),
                vectors=rows,
            ),
            replace_concepts=True,
        )

    def _reading_space(
        self, connection: psycopg.Connection[Any], index_type: IndexType | None
    ) -> tuple[Space, EmbeddingClient]:
        if self._client is not None:
            return spaces.get(connection, self._client.fingerprint, index_type), self._client
        space = spaces.active(connection)
        return space, self._client_of(space)

    def _writing_client(self, connection: psycopg.Connection[Any]) -> EmbeddingClient:
        return self._client or self._client_of(spaces.active(connection))

    def _client_of(self, space: Space) -> EmbeddingClient:
        if self._active_client is None or self._active_client.fingerprint != space.fingerprint:
            self._active_client = client_of(space)
        return self._active_client


def client_of(space: Space) -> EmbeddingClient:
    """The client that embeds as a space's rows were embedded.

    Raises:
        SpaceMismatchError: a variable says otherwise, or the model has changed since.
    """
    wanted = space.fingerprint
    said = {
        "OMOP_EMB_MODEL": f"{wanted.provider}:{wanted.model}",
        "OMOP_EMB_DIMENSIONS": str(wanted.dimensions),
        "OMOP_EMB_DOCUMENT_EMBEDDING_PREFIX": wanted.document_prefix,
        "OMOP_EMB_QUERY_EMBEDDING_PREFIX": wanted.query_prefix,
    }
    for name, value in said.items():
        found = config.variable(name)
        if found is not None and found != value:
            raise SpaceMismatchError(
                f"{name} is {found!r}, but the active space {space.name!r} was built with {value!r}: unset "
                "it, or run omop-emb index activate with the space that you mean"
            )
    client = EmbeddingClient.for_fingerprint(wanted)
    differences = client.fingerprint.differences(wanted)
    if differences:
        raise SpaceMismatchError(
            f"the active space {space.name!r} was built with another model than is here now: "
            f"{'; '.join(differences)}; install that model again, or run omop-emb index build"
        )
    return client


def _unit_rows(rows: ArrayLike, dimensions: int, *, count: int | None = None) -> NDArray[np.float32]:
    """A caller's vectors as unit rows, if they can be ones of this model."""
    try:
        matrix = np.asarray(rows, np.float32)
    except (TypeError, ValueError):
        raise InputError("embeddings must be an array of numbers, one row of equal length per text") from None
    if matrix.ndim != 2 or matrix.shape[1] != dimensions or count not in (None, len(matrix)):
        raise InputError(
            f"embeddings of shape ({'n' if count is None else count}, {dimensions}) are needed; "
            f"found {matrix.shape}"
        )
    useless = vectors.useless_rows(matrix)
    if useless:
        raise InputError(f"embeddings[{useless[0]}] is zero or not finite, which no model's vector is")
    return vectors.unit_rows(matrix)


def _checked(concept_ids: Sequence[int], concept_texts: Sequence[str]) -> tuple[list[int], list[str]]:
    if isinstance(concept_texts, str):
        raise InputError("concept_texts is a sequence of texts; found one text")
    ids, texts = list(concept_ids), list(concept_texts)
    if len(ids) != len(texts):
        raise InputError(
            f"as many concept_ids as concept_texts are needed; found {len(ids)} and {len(texts)}"
        )
    for position, concept_id in enumerate(ids):
        if isinstance(concept_id, bool) or not isinstance(concept_id, int | np.integer):
            raise InputError(
                f"concept_ids[{position}] must be a whole number; found {type(concept_id).__name__}"
            )
        if not -(2**31) <= concept_id < 2**31:
            raise InputError(f"concept_ids[{position}] must fit 32 bits; found {concept_id}")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"concept_texts[{position}] must be a text; found {type(text).__name__}")
        if "\0" in text:
            raise InputError(
                f"concept_texts[{position}] holds a NUL character, which PostgreSQL cannot store"
            )
    return [int(concept_id) for concept_id in ids], texts
