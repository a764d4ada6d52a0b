"""The client that a space needs: its model and prefixes, unless a variable says otherwise."""

from __future__ import annotations

from omop_emb import config
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import SpaceMismatchError
from omop_emb.providers.query_cache import VectorStore
from omop_emb.spaces.registry import Space


def check_variables(space: Space) -> None:
    """See that no variable contradicts a space.

    Raises:
        SpaceMismatchError: one does; both are shown.
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


def client_of(space: Space, *, query_store: VectorStore | None = None) -> EmbeddingClient:
    """The client that embeds as a space's rows were embedded, its query vectors kept in a store if given.

    Raises:
        SpaceMismatchError: a variable says otherwise, or the model has changed since.
    """
    check_variables(space)
    client = EmbeddingClient.for_fingerprint(space.fingerprint, query_store=query_store)
    differences = client.fingerprint.differences(space.fingerprint)
    if differences:
        raise SpaceMismatchError(
            f"the active space {space.name!r} was built with another model than is here now: "
            f"{'; '.join(differences)}; install that model again, or run omop-emb index build"
        )
    return client
