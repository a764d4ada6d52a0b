"""Space client: the client with a space's model and prefixes, unless a variable contradicts them."""

from __future__ import annotations

from collections.abc import Mapping

from omop_emb import config
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import OmopEmbError, SpaceMismatchError
from omop_emb.providers.factory import make_provider
from omop_emb.providers.query_cache import VectorStore
from omop_emb.spaces.registry import Space, variables_of


def describe(space: Space) -> str:
    """A space in an error message."""
    return f"{'the active ' if space.is_active else ''}space {space.name!r}"


def check_variables(space: Space, *, options: Mapping[str, str | None] | None = None) -> None:
    """Raise SpaceMismatchError if a variable, or the value in `options` in its place, contradicts a space."""
    for name, value in variables_of(space.fingerprint).items():
        is_model = name == "OMOP_EMB_MODEL"
        variable = (options or {}).get(name) or config.variable(name)
        if variable not in (None, value) and not (is_model and variable and _full_name(variable) == value):
            raise SpaceMismatchError(
                f"{name} is {variable!r}, but {describe(space)} was built with {value!r}: unset it, or run "
                "omop-emb index activate with the space that you want"
            )


def _full_name(model: str) -> str | None:
    """The name that a space records of a model: of a local one with the whole path; None if it has none."""
    try:
        provider = make_provider(model)
    except OmopEmbError:
        return None
    return f"{provider.name}:{provider.model}"


def client_of(
    space: Space, *, query_store: VectorStore | None = None, is_further: bool = False
) -> EmbeddingClient:
    """The client that embeds as a space's rows were embedded; it caches query vectors in a given store.

    is_further: the space is searched besides another, whose variables say nothing of this one.
    """
    if not is_further:
        check_variables(space)
    client = EmbeddingClient.for_fingerprint(space.fingerprint, query_store=query_store)
    differences = client.fingerprint.differences(space.fingerprint)
    if differences:
        raise SpaceMismatchError(
            f"the installed model differs from the one with which {describe(space)} was built: "
            f"{'; '.join(differences)}; install that model again, or run omop-emb index build, which "
            "builds a space with the installed model, and activate that"
        )
    return client
