"""Shared options: each group of options is handed to its command as one value."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from omop_emb import ConceptFilter, IndexType

from .suggestions import Choice

if TYPE_CHECKING:
    from omop_emb.mapping.approvals import ApprovedColumns

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


def _make_recipe(texts: str | None, template: str | None, languages: tuple[str, ...], **filters: Any) -> Any:
    from omop_emb.indexing import RecipeChange

    return RecipeChange(
        texts=texts,
        template=template,
        synonym_languages=_listed(languages),
        concept_filter=make_filter(**filters) if any(filters.values()) else None,
    )


def make_approved_columns(
    names: tuple[str, ...] = (),
    code_column: str | None = None,
    domain_column: str | None = None,
    **columns: Any,
) -> ApprovedColumns:
    """How a file of approved mappings is read, from the options' values."""
    from omop_emb.mapping.approvals import ApprovedColumns
    from omop_emb.mapping.files import Columns

    return ApprovedColumns(columns=Columns(names=names, code=code_column, domain=domain_column), **columns)


FILTER_OPTIONS: tuple[_Decorator, ...] = (
    *(
        click.option(
            f"--{kind.replace(' ', '-')}",
            name,
            multiple=True,
            metavar="NAME",
            help=f"Only this {kind}; repeatable, or several separated by commas.",
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
        type=Choice(["name", "name+synonyms", "name+synonyms+codes"]),
        help="Which texts of a concept are embedded, each with its own vector.  [new space: name+synonyms]",
    ),
    click.option(
        "--languages",
        "--synonym-language",
        multiple=True,
        metavar="LANGUAGE,…",
        help="Embed synonyms only in these languages: names, ISO 639-1 codes or concept ids, or all for "
        "every language in the vocabulary. --synonym-language is the old name.  [new space: en]",
    ),
    click.option(
        "--template",
        help='Template for the embedded text, such as "{concept_name} ({domain_id})"; "" is just the text.',
    ),
    *FILTER_OPTIONS,
)

# How any file of terms or mappings is read, where that is not detected rightly.
FILE_OPTIONS: tuple[_Decorator, ...] = (
    click.option("--encoding", help="Encoding of a text file, such as cp1252; detected by default."),
    click.option(
        "--separator", help="Separator of a text file, or none for one term a line; detected by default."
    ),
    click.option("--sheet", help="Sheet of a workbook; by default the first visible one with terms."),
    click.option(
        "--header-row",
        type=click.IntRange(min=0),
        metavar="LINE",
        help="Line of the header; 0 if there is none. Detected by default.",
    ),
)

APPROVED_COLUMN_OPTIONS: tuple[_Decorator, ...] = (
    click.option(
        "--approved-column", "approved", help="Column that says what a person decided; by default reviewed."
    ),
    click.option(
        "--approved-value",
        "approved_values",
        multiple=True,
        help="A value of it that means approved; repeatable.  [default: approve, yes, x, 1 and the like]",
    ),
)
_APPROVED_OPTIONS: tuple[_Decorator, ...] = (
    click.option("--name-column", "names", multiple=True, help="Column of the term; repeatable."),
    click.option("--code-column", help="Column of the source code."),
    click.option("--target-column", "target", help="Column of the concept ids that people chose."),
    *APPROVED_COLUMN_OPTIONS,
    *FILE_OPTIONS,
)
_LEARNING_OPTIONS: tuple[_Decorator, ...] = (
    click.option("--domain-column", help="Column of the OMOP domain that the concept must be in."),
    click.option(
        "--source-column", "source", help="Column of a row's source; by default each file is one source."
    ),
)
all_approved_option: _Decorator = click.option(
    "--all-approved",
    is_flag=True,
    help="A person vouches for every row of a table that does not say what was approved.",
)

# Each passes `columns`, an omop_emb.mapping.approvals.ApprovedColumns.
approved_options = option_group("columns", make_approved_columns, *_APPROVED_OPTIONS, all_approved_option)
training_options = option_group(
    "columns", make_approved_columns, *_APPROVED_OPTIONS, *_LEARNING_OPTIONS, all_approved_option
)
gold_options = option_group("columns", make_approved_columns, *_APPROVED_OPTIONS, *_LEARNING_OPTIONS)

index_type_option: _Decorator = click.option(
    "--index-type",
    type=Choice(["flat", "hnsw"]),
    callback=lambda _context, _option, value: None if value is None else IndexType(value),
    help="FLAT is exact, HNSW approximate and fast; a second index type for a model reuses its vectors.  "
    "[default: the space's, HNSW for a new one]",
)

limit_option: _Decorator = click.option(
    "--limit", type=click.IntRange(min=1), help="Only this many concepts, those with the lowest ids."
)

site_option: _Decorator = click.option(
    "--site", default="default", help="Name of the site whose approvals and ranker are used."
)

also_space_option: _Decorator = click.option(
    "--also-space",
    "also_spaces",
    multiple=True,
    metavar="NAME",
    callback=lambda _context, _option, names: names or None,
    help="Also search this space; repeatable. By default the spaces that the site's ranker learned with.",
)

prefer_option: _Decorator = click.option(
    "--prefer",
    multiple=True,
    metavar="KIND=VALUE",
    help="Put such concepts first where a term leaves the choice open, such as drug=ingredient, brand=no, "
    "property=Moles/volume or vocabulary=SNOMED; repeatable. Approvals have the same effect "
    "automatically.",
)
