"""Shared options: each group of options is handed to its command as one value."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from omop_emb import ConceptFilter, IndexType

if TYPE_CHECKING:
    from omop_emb.mapping.evaluation import GoldColumns

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def option_group(parameter: str, make: Callable[..., Any], *options: _Decorator) -> _Decorator:
    """A decorator that adds options to a command and passes it `make(**their_values)` as one parameter."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        names: list[str] = []

        @wraps(command)
        def run(*args: Any, **values: Any) -> Any:
            own = {name: values.pop(name) for name in names}
            return command(*args, **{parameter: make(**own)}, **values)

        decorated: Any = run
        for option in reversed(options):
            decorated = option(decorated)
            names.append(decorated.__click_params__[-1].name)
        return run

    return decorate


def make_filter(
    domains: tuple[str, ...],
    vocabularies: tuple[str, ...],
    concept_classes: tuple[str, ...],
    any_concept: bool,
) -> ConceptFilter:
    """The filter of FILTER_OPTIONS."""
    return ConceptFilter(
        domains=_listed(domains),
        vocabularies=_listed(vocabularies),
        concept_classes=_listed(concept_classes),
        standard_only=not any_concept,
        valid_only=not any_concept,
    )


def _listed(values: tuple[str, ...]) -> tuple[str, ...] | None:
    """The names given, each alone or several with commas between them; None for none."""
    return tuple(part.strip() for value in values for part in value.split(",")) or None


def _make_recipe(
    texts: str | None, template: str | None, synonym_languages: tuple[int, ...], **filters: Any
) -> Any:
    from omop_emb.indexing import RecipeChange

    return RecipeChange(
        texts=texts,
        template=template,
        synonym_languages=synonym_languages or None,
        concept_filter=make_filter(**filters) if any(filters.values()) else None,
    )


def _make_gold_columns(
    names: tuple[str, ...],
    code_column: str | None,
    domain_column: str | None,
    target_column: str | None,
    source_column: str | None,
) -> GoldColumns:
    from omop_emb.mapping.evaluation import GoldColumns
    from omop_emb.mapping.files import Columns

    columns = Columns(names=names, code=code_column, domain=domain_column)
    return GoldColumns(columns=columns, target=target_column, source=source_column)


FILTER_OPTIONS: tuple[_Decorator, ...] = (
    *(
        click.option(
            f"--{kind.replace(' ', '-')}",
            name,
            multiple=True,
            metavar="NAME",
            help=f"Only this {kind}; repeatable, or several with commas.",
        )
        for kind, name in (
            ("domain", "domains"),
            ("vocabulary", "vocabularies"),
            ("concept class", "concept_classes"),
        )
    ),
    click.option("--any", "any_concept", is_flag=True, help="Include non-standard and invalid concepts."),
)

# Passes `concept_filter`: standard and valid concepts unless --any is given.
filter_options = option_group("concept_filter", make_filter, *FILTER_OPTIONS)

# Passes `recipe`, an omop_emb.indexing.RecipeChange.
recipe_options = option_group(
    "recipe",
    _make_recipe,
    click.option(
        "--texts",
        type=click.Choice(["name", "name+synonyms", "name+synonyms+codes"]),
        help="Which texts of a concept are embedded, each with its own vector.  [at first: name+synonyms]",
    ),
    click.option(
        "--synonym-language",
        "synonym_languages",
        type=int,
        multiple=True,
        metavar="CONCEPT_ID",
        help="Embed synonyms in this language; repeatable.  [at first: 4180186, English]",
    ),
    click.option(
        "--template",
        help='What each text is embedded as, such as "{concept_name} ({domain_id})"; "" is the text alone.',
    ),
    *FILTER_OPTIONS,
)

# Passes `gold_columns`, an omop_emb.mapping.evaluation.GoldColumns.
gold_column_options = option_group(
    "gold_columns",
    _make_gold_columns,
    click.option("--name-column", "names", multiple=True, help="Column of the term; repeatable."),
    click.option("--code-column", help="Column of the source code."),
    click.option("--domain-column", help="Column of the OMOP domain that the concept must be in."),
    click.option("--target-column", help="Column of the concept ids that people chose."),
    click.option("--source-column", help="Column of a row's source; by default each file is one source."),
)

index_type_option: _Decorator = click.option(
    "--index-type",
    type=click.Choice(["flat", "hnsw"]),
    callback=lambda _context, _option, value: None if value is None else IndexType(value),
    help="FLAT is exact, HNSW approximate and fast; a model's second index type embeds nothing again.  "
    "[default: that of the space, HNSW for a new one]",
)

limit_option: _Decorator = click.option(
    "--limit", type=click.IntRange(min=1), help="Only so many concepts, those with the lowest ids."
)

site_option: _Decorator = click.option(
    "--site", default="default", help="Name of the site whose approvals and ranker are used."
)
