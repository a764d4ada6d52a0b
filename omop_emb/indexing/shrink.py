"""Shrinking: a build that would take over a fifth of its texts from a space."""

from __future__ import annotations

from omop_emb.errors import ShrinkError
from omop_emb.indexing.connections import Connection
from omop_emb.indexing.difference import BuildPlan
from omop_emb.records import counted
from omop_emb.spaces.recipe import Recipe, filter_from_json
from omop_emb.spaces.registry import Space
from omop_emb.vocabulary.losses import is_loss


def describe_loss(connection: Connection, space: Space, recipe: Recipe, plan: BuildPlan) -> str:
    """What the space would lose, with figures, if that is over a fifth of its texts; "" if it is not.

    With other filters than before, it counts how many texts leave; otherwise also how many come.
    """
    before = plan.unchanged + plan.withdrawn + plan.obsolete
    after = plan.unchanged + plan.to_embed + plan.reused
    if _has_new_filter(connection, space, recipe):
        after = min(after, before - plan.withdrawn)
    if not is_loss(before, after):
        return ""
    return (
        f"space {space.name!r} has {counted(before, 'text')} and would lose "
        f"{plan.withdrawn + plan.obsolete:,}, "
        f"{plan.withdrawn:,} of them because "
        f"{counted(plan.withdrawn_concepts, 'concept is', 'concepts are')} no "
        f"longer in the vocabulary or the filters; {plan.to_embed + plan.reused:,} would be added"
    )


def check_loss(plan: BuildPlan, *, allow_shrink: bool) -> None:
    """Raise ShrinkError if the space would lose too much."""
    if plan.loss and not allow_shrink:
        raise ShrinkError(
            f"{plan.loss}. Nothing was changed; check the vocabulary (omop-emb vocabulary list) and the "
            "filters, or add --allow-shrink"
        )


def _has_new_filter(connection: Connection, space: Space, recipe: Recipe) -> bool:
    """Whether other concepts are chosen than by the last build, or there was none."""
    row = connection.execute(
        "select selection from omop_emb.space where space_id = %s", (space.space_id,)
    ).fetchone()
    if row is None or row[0] is None:
        return True
    return filter_from_json(row[0]) != recipe.concept_filter
