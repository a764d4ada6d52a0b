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

_RECIPE_OPTIONS = (
    click.option(
        "--index-type",
        type=click.Choice(["flat", "hnsw"]),
        default="hnsw",
        show_default=True,
        help="FLAT is exact, HNSW approximate and fast; the second of a model's two embeds nothing again.",
    ),
    click.option(
        "--texts",
        type=click.Choice(["name", "name+synonyms", "name+synonyms+codes"]),
        help="Which texts of a concept are embedded, each on its own.  [at first: name+synonyms]",
    ),
    click.option(
        "--synonym-language",
        "synonym_languages",
        type=int,
        multiple=True,
        metavar="CONCEPT_ID",
        help="Take synonyms of this language; repeatable.  [at first: 4180186, English]",
    ),
    click.option(
        "--template",
        help='What is made of each text, such as "{concept_name} ({domain_id})"; "" leaves it as it is.',
    ),
)

_GOLD_COLUMN_OPTIONS = (
    click.option("--name-column", "names", multiple=True, help="Column of the term; several may be given."),
    click.option("--code-column", help="Column of the source code."),
    click.option("--domain-column", help="Column with the OMOP domain that the concept must be in."),
    click.option("--target-column", help="Column with the concept ids that people chose."),
    click.option("--source-column", help="Column that says where a row is from; else each file is a source."),
)


def gold_column_options(command: _Command) -> _Command:
    """Add the five options that name a file's columns, its targets among them; see gold_columns()."""
    for option in reversed(_GOLD_COLUMN_OPTIONS):
        command = option(command)
    return command


def gold_columns(
    names: tuple[str, ...],
    code_column: str | None,
    domain_column: str | None,
    target_column: str | None,
    source_column: str | None,
) -> dict[str, Any]:
    """What gold_column_options() were given, as Training and Measured take it."""
    from omop_emb.mapping.files import Columns

    return {
        "columns": Columns(names=names, code=code_column, domain=domain_column),
        "target_column": target_column,
        "source_column": source_column,
    }


def recipe_options(command: _Command) -> _Command:
    """Add --index-type, --texts, --synonym-language and --template: what a space is built from."""
    for option in reversed(_RECIPE_OPTIONS):
        command = option(command)
    return command


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
