"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from omop_emb import ConceptFilter

_Command = TypeVar("_Command", bound=Callable[..., Any])

_FILTER_OPTIONS = (
    click.option("--domain", "domains", multiple=True, metavar="NAME", help="Only this domain; repeatable."),
    click.option(
        "--vocabulary",
        "vocabularies",
        multiple=True,
        metavar="NAME",
        help="Only this vocabulary; repeatable.",
    ),
    click.option(
        "--concept-class",
        "concept_classes",
        multiple=True,
        metavar="NAME",
        help="Only this concept class; repeatable.",
    ),
    click.option("--any", "any_concept", is_flag=True, help="Non-standard and invalid concepts too."),
)


def filter_options(command: _Command) -> _Command:
    """Add --domain, --vocabulary, --concept-class and --any; concept_filter() makes a filter of them."""
    for option in reversed(_FILTER_OPTIONS):
        command = option(command)
    return command


def concept_filter(
    domains: tuple[str, ...],
    vocabularies: tuple[str, ...],
    concept_classes: tuple[str, ...],
    any_concept: bool,
) -> ConceptFilter:
    """What filter_options() were given as a filter: standard and valid concepts unless --any."""
    return ConceptFilter(
        domains=domains or None,
        vocabularies=vocabularies or None,
        concept_classes=concept_classes or None,
        standard_only=not any_concept,
        valid_only=not any_concept,
    )
