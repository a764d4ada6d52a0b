"""Embedding interface: embeds concepts into PostgreSQL and finds the nearest ones of a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
from numpy.typing import ArrayLike

from omop_emb.arrays import Floats, Vectors
from omop_emb.database import migrations
from omop_emb.database.engine import readable_errors, writing_connection
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.embeddings.embedding_inputs import embedding_items
from omop_emb.errors import ConfigurationError, checked_keywords
from omop_emb.interface.concept_search import ConceptSearch
from omop_emb.interface.inputs import ids_and_texts, shown_text, valid_rows
from omop_emb.providers.parts import EmbeddingInput
from omop_emb.records import Concept, EmbeddingRole, IndexType, TextKind
from omop_emb.search.prepare_space import prepare_loaded_space
from omop_emb.spaces import lifecycle, registry, upsert
from omop_emb.spaces.text_rows import TextRows
from omop_emb.spaces.upsert import UpsertResult
from omop_emb.vocabulary import reader

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session


@checked_keywords
class EmbeddingInterface(ConceptSearch):
    """Embeds concepts into PostgreSQL and finds the nearest ones of a text.

    With a client, it works in the space of the client's fingerprint: writing creates that space if there is
    none, searching then raises SpaceNotFoundError. Without one, the active space supplies model and prefixes,
    and `omop-emb index activate` switches it at its next call.

    Every method takes the caller's session (a SQLAlchemy Session or Connection on psycopg 3), works in
    its transaction and never commits: rolled back, nothing is left.

    Args:
        client: embeds texts; None is the active space's model.
        query_store: where query vectors are cached besides the process's memory, such as
            omop_emb.spaces.QueryVectors(engine); with a client, give it to the client.
    """

    def embed_texts(
        self, texts: Sequence[EmbeddingInput], *, embedding_role: EmbeddingRole | str, combine: str = "one"
    ) -> Vectors:
        """The texts' vectors for a role, as EmbeddingClient.embeddings: (n, dimensions), same order.

        Raises:
            ConfigurationError: this interface has no client; that of the active space is known only where a
                session is given.
        """
        if self._client is None:
            raise ConfigurationError(
                "embed_texts needs a client, because without a session the active space's model is "
                "unknown: use EmbeddingInterface(EmbeddingClient())"
            )
        return self._client.embeddings(texts, embedding_role=embedding_role, combine=combine)

    def embed_and_upsert_concepts(
        self,
        *,
        session: Session | Connection,
        index_type: IndexType | str,
        concept_ids: Sequence[int],
        concept_texts: Sequence[EmbeddingInput],
    ) -> UpsertResult:
        """Embed concept texts as documents and write them; works on a fresh database.

        A concept id may stand in the call several times with several texts; these texts replace the
        concept's earlier ones. Nothing is committed.

        Args:
            session: whose transaction is used.
            index_type: which of the model's two spaces, FLAT or HNSW, is written; created if it is missing.
            concept_ids: OMOP concept ids, one per text.
            concept_texts: what is embedded, one per id; none may be blank. For a model that reads more than
                text one may also be a sequence of str and Part, such as a name and a picture: its texts are
                what searches show, and with another picture it is another row.

        Raises:
            InputError: lengths differ, an id is not a 32-bit integer, or a text is blank or no text.
        """
        chosen = IndexType.parse(index_type, "index_type")
        ids, texts = ids_and_texts(concept_ids, concept_texts)
        with readable_errors():
            connection = writing_connection(session)
            client = self._writing_client(connection)
            # A repeated text is sent once.
            rows = client.embeddings(texts, embedding_role=EmbeddingRole.DOCUMENT)
            return self._write(connection, client, chosen, ids, texts, rows)

    def upsert_concept_embeddings(
        self,
        *,
        session: Session | Connection,
        index_type: IndexType | str,
        concept_ids: Sequence[int],
        concept_texts: Sequence[EmbeddingInput],
        embeddings: ArrayLike,
    ) -> UpsertResult:
        """Write document vectors that the caller already has, as embed_and_upsert_concepts does.

        Args:
            session: whose transaction is used.
            index_type: which of the model's two spaces is written; created if it is missing.
            concept_ids: OMOP concept ids, one per text.
            concept_texts: the texts that were embedded, one per id; or sequences of str and Part.
            embeddings: (n, dimensions), made by this interface's model for DOCUMENT; rows are normalised.

        Raises:
            InputError: shapes do not fit, or a row is zero or not finite.
        """
        chosen = IndexType.parse(index_type, "index_type")
        ids, texts = ids_and_texts(concept_ids, concept_texts)
        with readable_errors():
            connection = writing_connection(session)
            client = self._writing_client(connection)
            rows, lengths = valid_rows(embeddings, client.dimensions, count=len(ids))
            return self._write(connection, client, chosen, ids, texts, rows, lengths)

    def finish_loading(self, *, session: Session | Connection, index_type: IndexType | str) -> None:
        """Make searches of a space that upserts have filled fast, as `omop-emb index build` does.

        Call it once, after the last upsert of a load. It counts the rows, creates the HNSW index and measures
        its recall. Before it, searches of a new space compare all rows. An index that exists is kept up to
        date by each upsert, which takes many times as long as writing rows alone.

        To repeat it is cheap unless many rows have changed. Other sessions search meanwhile; those that write
        to the space wait until this transaction ends. Nothing is committed; interrupted, it leaves nothing.

        Args:
            session: whose transaction is used.
            index_type: which of the model's two spaces, FLAT or HNSW.

        Raises:
            SpaceNotFoundError: there is no such space.
            SpaceError: the space is being built.
        """
        chosen = IndexType.parse(index_type, "index_type")
        with readable_errors():
            connection = writing_connection(session)
            migrations.migrate(connection)
            fingerprint = self._writing_client(connection).fingerprint
            space = registry.space_by_fingerprint(connection, fingerprint, chosen)
            prepare_loaded_space(connection, space)

    def _write(
        self,
        connection: psycopg.Connection[Any],
        client: EmbeddingClient,
        index_type: IndexType,
        ids: list[int],
        inputs: list[EmbeddingInput],
        rows: Vectors,
        lengths: Floats | None = None,
    ) -> UpsertResult:
        migrations.migrate(connection)
        space, created = lifecycle.ensure_space(connection, client.fingerprint, index_type, with_index=False)
        if created:
            lifecycle.activate_space(connection, space, only_if_none_is=True)
        texts = list(map(shown_text, inputs))
        items = embedding_items(inputs, model=client.model, limits=client.part_limits)
        described = reader.concepts_by_id(connection, ids)
        # The first text of a concept that no vocabulary describes is its name.
        names = dict(zip(reversed(ids), reversed(texts), strict=True))
        concepts: dict[int, Concept | str] = {**names, **described}
        names.update((concept_id, concept.concept_name) for concept_id, concept in described.items())
        is_name = np.fromiter((names[i] == text for i, text in zip(ids, texts, strict=True)), bool, len(ids))
        return upsert.upsert_rows(
            connection,
            space,
            TextRows(
                concept_ids=np.array(ids, np.int32),
                kinds=np.where(is_name, TextKind.NAME.value.encode(), TextKind.SYNONYM.value.encode()),
                texts=texts,
                text_hashes=upsert.text_hashes(items),
                vectors=rows,
                concepts=concepts,
                lengths=lengths,
            ),
            replace_concepts=True,
        )

    def _writing_client(self, connection: psycopg.Connection[Any]) -> EmbeddingClient:
        return self._client or self._client_of(registry.active_space(connection))
