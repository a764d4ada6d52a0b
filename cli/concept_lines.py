"""A concept's card as lines of text: facts first, then lists of concepts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from .table import one_line, stacked_lines, table_lines

if TYPE_CHECKING:
    from omop_emb.service import ConceptCard, Relative

# Lists that are long, or of use to few: each has an option.
OPTIONAL_SECTIONS = ("siblings", "ancestors", "descendants", "related")
# Relationships that a card shows without being asked.
_SHOWN = ("Is a", "Subsumes", "Maps to", "Mapped from", "Concept replaced by")


def card_lines(card: ConceptCard, sections: Sequence[str], width: int) -> Iterator[str]:
    """The lines of a card; `sections` are those of OPTIONAL_SECTIONS that are wanted."""
    from omop_emb.service import card_facts

    name = one_line(card.concept.concept_name) or "(without a name)"
    for line in stacked_lines((str(card.concept.concept_id),), [(name,)], width):
        yield click.style(line, bold=True)
    facts = {name: one_line(value) for name, value in card_facts(card).items()}
    for line in stacked_lines(tuple(facts), [tuple(facts.values())], width - 2):
        yield f"  {line}"
    for kind in ("parents", "children"):
        yield from _section(kind, getattr(card, kind), card.counts[kind], width)
    others = [one for one in card.mapped_from if one.concept != card.concept]
    itself = len(card.mapped_from) - len(others)
    yield from _section("mapped from", others, card.counts["mapped_from"] - itself, width)
    for kind in sections:
        if kind == "related":
            yield from _related(card, width)
        else:
            yield from _section(kind, getattr(card, kind), card.counts[kind], width, is_wanted=True)


def _related(card: ConceptCard, width: int) -> Iterator[str]:
    names = [name for name in card.relationships if name not in _SHOWN]
    for name in names:
        relatives = [one for one in card.related if one.relationship == name]
        yield from _section(name, relatives, card.relationships[name], width)
    if not names:
        yield from _section("related", [], 0, width, is_wanted=True)


def _section(
    name: str, relatives: Sequence[Relative], total: int, width: int, *, is_wanted: bool = False
) -> Iterator[str]:
    if not total and not is_wanted:
        return
    yield ""
    shown = (
        f"{len(relatives):,} of {total:,}" if len(relatives) < total else f"{total:,}" if total else "none"
    )
    yield click.style(f"{name}: {shown}", bold=True)
    rows = [_cells(relative, has_levels=name in ("ancestors", "descendants")) for relative in relatives]
    if rows:
        # Without headers: the first line of the table is empty.
        lines, _ = table_lines([""] * len(rows[0]), rows, width - 2)
        yield from (f"  {line}" for line in lines[1:])


def _cells(relative: Relative, *, has_levels: bool) -> list[str]:
    concept = relative.concept
    code = " ".join(filter(None, (concept.vocabulary_id, concept.concept_code))) or "not loaded"
    level = [str(relative.distance)] if has_levels else []
    return [one_line(cell) for cell in (*level, str(concept.concept_id), concept.concept_name, code)]
