"""Build target: the space that a build updates or creates, and the model that embeds for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import Engine

from omop_emb import config
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.embeddings.models import TASK_VARIABLES
from omop_emb.errors import SpaceError
from omop_emb.indexing.connections import open_connection
from omop_emb.records import EmbeddingRole, IndexType
from omop_emb.spaces import registry
from omop_emb.spaces.registry import Space
from omop_emb.spaces.space_client import check_variables


@dataclass(frozen=True)
class BuildTarget:
    """What to give build_index(): the model, and which of its two spaces."""

    client: EmbeddingClient
    index_type: IndexType


def build_target(
    engine: Engine,
    *,
    name: str | None = None,
    index_type: IndexType | None = None,
    model: str | None = None,
    tasks: Mapping[EmbeddingRole, str] | None = None,
    new_client: Callable[[str | None], EmbeddingClient] = EmbeddingClient,
) -> BuildTarget:
    """The space that a build means: the named one, or that of the variables' model, or the active one.

    Args:
        engine: the database.
        name: of a space. One that does not exist is new, and of the model that is meant without it.
        index_type: FLAT or HNSW; None is that of the space that is meant, HNSW for a new one.
        model: provider:model, instead of what the variables say.
        tasks: task types, instead of what the variables say.
        new_client: makes the client of a model, or with None of the variables' model.

    Raises:
        SpaceError: the named space has another index type.
        SpaceMismatchError: a variable, `model` or `tasks` contradicts the named space.
    """
    with open_connection(engine) as connection:
        spaces = registry.all_spaces(connection)
    by_name = {space.name: space for space in spaces}
    if name in by_name:
        options = {TASK_VARIABLES[role]: task for role, task in (tasks or {}).items()}
        return _of_space(by_name[name], index_type, {"OMOP_EMB_MODEL": model, **options})
    active = next((space for space in spaces if space.is_active), None)
    has_variables = any(config.variable(variable) is not None for variable in config.SPACE_VARIABLES)
    if active is not None and model is None and not tasks and not has_variables:
        client = EmbeddingClient.for_fingerprint(active.fingerprint)
        existing = [active]
    else:
        client = EmbeddingClient(model, tasks=tasks) if tasks else new_client(model)
        existing = [space for space in spaces if space.fingerprint == client.fingerprint]
    if index_type is None:
        is_new = name is not None or not existing
        index_type = (
            IndexType.HNSW if is_new else registry.choose_space(existing, existing[0].fingerprint).index_type
        )
    return BuildTarget(client, index_type)


def _of_space(space: Space, index_type: IndexType | None, options: Mapping[str, str | None]) -> BuildTarget:
    check_variables(space, options=options)
    if index_type not in (None, space.index_type):
        raise SpaceError(
            f"space {space.name!r} is {space.index_type.name}: leave out --index-type, or choose another "
            "--name"
        )
    return BuildTarget(EmbeddingClient.for_fingerprint(space.fingerprint), space.index_type)
