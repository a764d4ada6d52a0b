"""Space client: the client with a space's model and prefixes, unless a variable contradicts them."""

from __future__ import annotations

from omop_emb import config
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import SpaceMismatchError
from omop_emb.providers.query_cache import VectorStore
from omop_emb.spaces.registry import Space


def describe(space: Space) -> str:
    """A space in an error message."""
    return f"{'the active ' if space.is_active else ''}space {space.name!r}"


def check_variables(space: Space) -> None:
    """Raise SpaceMismatchError if a variable contradicts a space; it shows both."""
    fingerprint = space.fingerprint
    expected = {
        "OMOP_EMB_MODEL": f"{fingerprint.provider}:{fingerprint.model}",
        "OMOP_EMB_DIMENSIONS": str(fingerprint.dimensions),
        "OMOP_EMB_DOCUMENT_EMBEDDING_PREFIX": fingerprint.document_prefix,
        "OMOP_EMB_QUERY_EMBEDDING_PREFIX": fingerprint.query_prefix,
    }
    for name, value in expected.items():
        variable = config.variable(name)
        if variable is not None and variable != value:
            raise SpaceMismatchError(
                f"{name} is {variable!r}, but {describe(space)} was built with {value!r}: unset it, or run "
                "omop-emb index activate with the space that you want"
            )


def client_of(space: Space, *, query_store: VectorStore | None = None) -> EmbeddingClient:
    """The client that embeds as a space's rows were embedded; it caches query vectors in a given store."""
    check_variables(space)
    client = EmbeddingClient.for_fingerprint(space.fingerprint, query_store=query_store)
    differences = client.fingerprint.differences(space.fingerprint)
    if differences:
        raise SpaceMismatchError(
            f"the installed model differs from the one with which {describe(space)} was built: "
            f"{'; '.join(differences)}; install that model again, or run omop-emb index build, which builds "
            "a space of the installed one, and activate that"
        )
    return client
