"""Ranker spaces: the further spaces of a mapping, as requested or as its ranker was trained with them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import psycopg

from omop_emb.errors import ConfigurationError, InputError, SpaceError, SpaceNotFoundError
from omop_emb.mapping.ranking.ranker import Ranker, TrainedSpace
from omop_emb.spaces import registry
from omop_emb.spaces.registry import Space
from omop_emb.spaces.release import holds_same_release


def find_further_spaces(
    connection: psycopg.Connection[Any], space: Space, ranker: Ranker, names: Sequence[str] | None
) -> list[Space]:
    """The spaces that are searched besides `space`, in the order of the ranker's features.

    names: those requested; None: those that the ranker was trained with.

    Raises:
        SpaceNotFoundError: one does not exist.
        SpaceError: one is incomplete, or of another release than `space`.
        InputError: two spaces have the same vectors.
        ConfigurationError: the site's ranker was trained with others.
    """
    if isinstance(names, str):
        raise InputError(f"also_spaces must be a sequence of names of spaces; found the text {names!r}")
    if names is None:
        further = [_trained_space(connection, ranker, trained) for trained in ranker.further_spaces]
    else:
        further = [registry.answering_space(connection, name=name) for name in names]
    names_by_vectors = {space.fingerprint.digest: space.name}
    for one in further:
        if (same := names_by_vectors.get(one.fingerprint.digest)) is not None:
            raise InputError(
                f"--also-space {one.name!r} adds nothing, because it has the same vectors as {same!r}: "
                "leave it out"
            )
        names_by_vectors[one.fingerprint.digest] = one.name
        if not holds_same_release(connection, space, one):
            raise SpaceError(
                f"space {one.name!r} was built from another vocabulary than space {space.name!r}: run "
                f"{registry.build_command(one.name)}, and the same for the other if it is older"
            )
    if not ranker.is_site_trained:
        return further
    order = [trained.fingerprint for trained in ranker.further_spaces]
    if sorted(order) != sorted(one.fingerprint.digest for one in further):
        raise ConfigurationError(_other_spaces(ranker, further))
    return sorted(further, key=lambda one: order.index(one.fingerprint.digest))


def as_trained(spaces: Sequence[Space]) -> tuple[TrainedSpace, ...]:
    """The spaces as a ranker records them."""
    return tuple(TrainedSpace(one.name, one.fingerprint.digest) for one in spaces)


def _trained_space(connection: psycopg.Connection[Any], ranker: Ranker, trained: TrainedSpace) -> Space:
    spaces = registry.all_spaces(connection)
    matches = [one for one in spaces if one.fingerprint.digest == trained.fingerprint]
    if not matches:
        raise SpaceNotFoundError(
            f"the ranker {ranker.name!r} was trained with the space {trained.name!r} too, which no longer "
            "exists: build it again, use --shipped, or run omop-emb calibrate again"
        )
    best = max(matches, key=lambda one: (one.is_complete, one.name == trained.name))
    registry.check_complete(best)
    return best


def _other_spaces(ranker: Ranker, further: Sequence[Space]) -> str:
    trained, requested = (
        " and ".join(repr(one.name) for one in spaces) or "no further space"
        for spaces in (ranker.further_spaces, further)
    )
    options = "".join(f" --also-space {shlex.quote(one.name)}" for one in further)
    return (
        f"the ranker {ranker.name!r} was trained with {trained}, but {requested} is requested: leave out "
        "--also-space to use the ranker's spaces, use --shipped, or run omop-emb calibrate "
        f"APPROVED{options}"
    )
