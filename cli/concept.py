"""omop-emb concept: what the vocabulary and the spaces hold about a concept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from .concept_lines import OPTIONAL_SECTIONS, card_lines
from .render import Row, echo, format_option, render, terminal_width
from .table import one_line

if TYPE_CHECKING:
    from omop_emb.service import ConceptCard

_WIDTH = 80  # characters of a card's lines where stdout is no terminal
_ROW_COLUMNS = (
    *(
        "query",
        "kind",
        "relationship",
        "distance",
        "concept_id",
        "concept_name",
        "domain_id",
        "vocabulary_id",
    ),
    *("concept_class_id", "standard_concept", "concept_code", "invalid_reason"),
)
_KINDS = ("parents", "children", "siblings", "ancestors", "descendants", "maps_to", "mapped_from", "related")


@click.command("concept")
@click.argument("concepts", nargs=-1, required=True, metavar="ID…")
@click.option("--ancestors", is_flag=True, help="Show all concepts above it, with their levels.")
@click.option("--descendants", is_flag=True, help="Show all concepts below it, with their levels.")
@click.option("--siblings", is_flag=True, help="Show the other children of its parents.")
@click.option("--related", is_flag=True, help="Show the concepts in all its other relationships.")
@click.option("--limit", default=10, type=click.IntRange(1, 1_000_000), help="Entries per list.")
@format_option
def command(concepts: tuple[str, ...], limit: int, format_: str, **wanted: bool) -> int:
    """Show concepts, each given by its id or as VOCABULARY:CODE.

    A card shows names, validity, parents and children, mappings, what the loaded release changed, and the
    spaces that contain the concept. JSON has every list; CSV and TSV have one row per relative.

    \b
    omop-emb concept 4329847
    omop-emb concept SNOMED:22298006 --ancestors --descendants --limit 50
    omop-emb concept 4329847 4048809 --format json
    """
    from omop_emb.database import session_scope
    from omop_emb.service import concept_card
    from omop_emb.vocabulary import look_up

    names = tuple(dict.fromkeys(concepts))
    with session_scope() as session:
        found = look_up(session, names)
        cards = {
            name: concept_card(session, found.concepts[name].concept_id, limit=limit)
            for name in names
            if name in found.concepts
        }
    if format_ == "table":
        _print_cards(list(cards.values()), [name for name in OPTIONAL_SECTIONS if wanted[name]])
    elif format_ == "json":
        records = [_record(name, card) for name, card in cards.items()]
        render(records, tuple(records[0]) if records else (), format_)
    else:
        render((row for name, card in cards.items() for row in _rows(name, card)), _ROW_COLUMNS, format_)
    for name in names:
        if name not in cards:
            echo(f"error: {found.missing.get(name) or _no_id(name)}")
    return 0 if len(cards) == len(names) else 3 if cards else 1


def _no_id(name: str) -> str:
    return (
        f"{one_line(name)!r} is neither a concept id nor VOCABULARY:CODE; to find a term, use omop-emb search"
    )


def _print_cards(cards: list[ConceptCard], sections: list[str]) -> None:
    width = terminal_width() or _WIDTH
    for n, card in enumerate(cards):
        if n:
            click.echo()
        for line in card_lines(card, sections, width):
            click.echo(line)


def _record(name: str, card: ConceptCard) -> dict[str, Any]:
    record = {"query": name, **asdict(card)}
    for field in ("valid_start", "valid_end"):
        record[field] = record[field] and record[field].isoformat()
    return record


def _rows(name: str, card: ConceptCard) -> Iterator[Row]:
    """A row for the concept itself, then one for each relative of each kind."""
    yield {"query": name, "kind": "concept", **asdict(card.concept)}
    for kind in _KINDS:
        for relative in getattr(card, kind):
            how = {"relationship": relative.relationship, "distance": relative.distance}
            yield {"query": name, "kind": kind, **how, **asdict(relative.concept)}
