"""What is embedded of a vocabulary: which concepts, which of their texts, and what is made of each text."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from string import Formatter
from typing import Any

from psycopg import sql

from omop_emb.errors import ConfigurationError
from omop_emb.records import ConceptFilter, TextKind

DEFAULT_TEXTS = "name+synonyms"
ENGLISH = 4180186  # OMOP's concept id of the English language
TEXT_CHOICES = ("name", "name+synonyms", "name+synonyms+codes")
TEMPLATE_FIELDS = ("text", "concept_name", "domain_id", "vocabulary_id", "concept_class_id", "concept_code")
STANDARD_AND_VALID = ConceptFilter(standard_only=True, valid_only=True)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a space holds of a vocabulary.

    Attributes:
        texts: one of TEXT_CHOICES.
        template: what is made of each text before it is embedded, such as "{concept_name} ({domain_id})";
            "" leaves it as it is. {text} is the text; in a template without it, {concept_name} is.
        synonym_languages: OMOP's concept ids of the languages whose synonyms are taken.
        concept_filter: which concepts.

    Raises:
        ConfigurationError: `texts` is none of the choices, or the template cannot be filled in.
    """

    texts: str = DEFAULT_TEXTS
    template: str = ""
    synonym_languages: tuple[int, ...] = (ENGLISH,)
    concept_filter: ConceptFilter = STANDARD_AND_VALID

    def __post_init__(self) -> None:
        if self.texts not in TEXT_CHOICES:
            raise ConfigurationError(f"texts must be one of {', '.join(TEXT_CHOICES)}; found {self.texts!r}")
        _parsed(self.template)

    @property
    def settings(self) -> str:
        """The recipe as one line of JSON, equal for equal recipes."""
        return json.dumps(
            {
                "texts": self.texts,
                "template": self.template,
                "synonym_languages": sorted(self.synonym_languages),
                "selection": filter_to_json(self.concept_filter),
            },
            sort_keys=True,
        )


def filter_to_json(concept_filter: ConceptFilter) -> dict[str, Any]:
    """A filter as plain values, without what sets no limit."""
    return {name: value for name, value in asdict(concept_filter).items() if value not in (None, False)}


def filter_from_json(selection: dict[str, Any]) -> ConceptFilter:
    """The filter that selection_of() made these values of."""
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in selection.items()}
    made: ConceptFilter = replace(ConceptFilter(), **values)  # type: ignore[arg-type]  # names are fields
    return made


def _parsed(template: str) -> list[tuple[str, str | None]]:
    """The template as literal texts, each with the field that follows it."""
    if template == "":
        return [("", "text")]
    try:
        parts = [
            (literal, name, spec, conversion)
            for literal, name, spec, conversion in Formatter().parse(template)
        ]
    except ValueError as error:
        raise ConfigurationError(f"the template {template!r} cannot be read: {error}") from None
    names = [name for _, name, _, _ in parts if name is not None]
    for _, name, spec, conversion in parts:
        if name is not None and (name not in TEMPLATE_FIELDS or spec or conversion):
            raise ConfigurationError(
                f"the template {template!r} has {{{name}}}; it may have "
                + ", ".join(f"{{{field}}}" for field in TEMPLATE_FIELDS)
            )
    if "text" not in names and "concept_name" not in names:
        raise ConfigurationError(f"the template {template!r} needs {{text}} or {{concept_name}}")
    stand_in = "text" if "text" in names else "concept_name"
    return [(literal, "text" if name == stand_in else name) for literal, name, _, _ in parts]


def fill_template(template: str, text: str, fields: dict[str, str | None]) -> str:
    """What is embedded for a text, without the model's prefix; a field that is None is left empty."""
    return "".join(
        literal + ("" if name is None else text if name == "text" else fields[name] or "")
        for literal, name in _parsed(template)
    )


def template_sql(template: str) -> sql.Composable:
    """fill_in() as SQL over the columns text, concept_name, domain_id and so on."""
    parts: list[sql.Composable] = []
    for literal, name in _parsed(template):
        if literal:
            parts.append(sql.Literal(literal))
        if name is not None:
            parts.append(sql.Identifier(name))
    if len(parts) == 1:
        return parts[0]
    return sql.SQL("concat({})").format(sql.SQL(", ").join(parts))


# store.text_hash() as SQL: the first 8 bytes of the text's SHA-256 as a bigint.
_HASH = sql.SQL("('x' || encode(substr(sha256(convert_to({input}, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint")

_WANTED = sql.SQL(
    """
    with concept as materialized (
        select concept_id::integer as concept_id, concept_name, domain_id, vocabulary_id, concept_class_id,
               nullif(standard_concept, '') as standard_concept, concept_code,
               nullif(invalid_reason, '') as invalid_reason
        from {concept}
        where concept_name ~ '\\S' and {condition}
        {limit}
    ), texts as (
        {texts}
    )
    select concept_id, text_kind, {hash} as text_hash, text, concept_name, domain_id, vocabulary_id,
           concept_class_id, standard_concept, concept_code, invalid_reason
    from texts
    """
)
_NAMES = sql.SQL("""select *, {kind}::"char" as text_kind, concept_name as text from concept""")
_SYNONYMS = sql.SQL(
    """
    select concept.*, {kind}::"char", synonym.text
    from concept join (
        select distinct concept_id, concept_synonym_name as text from {concept_synonym}
        where language_concept_id = any(cast({languages} as integer[])) and concept_synonym_name ~ '\\S'
    ) synonym on synonym.concept_id = concept.concept_id and synonym.text <> concept.concept_name
    """
)
_CODES = sql.SQL(
    """
    select *, {kind}::"char", concept_code from concept
    where concept_code ~ '\\S' and concept_code <> concept_name
    """
)


def text_hash_sql(template: str) -> sql.Composable:
    """store.text_hash() of what is embedded, as SQL over the columns of a space's text table."""
    return _HASH.format(input=template_sql(template))


def texts_query(
    recipe: Recipe,
    *,
    concept: sql.Composable,
    concept_synonym: sql.Composable | None,
    limit: int | None = None,
) -> sql.Composed:
    """A query for one row per text that a space should hold.

    Its columns are those of a space's text table. `limit` takes the concepts with the lowest ids alone.
    """
    texts = [_NAMES.format(kind=sql.Literal(TextKind.NAME.value))]
    if "synonyms" in recipe.texts and concept_synonym is not None:
        texts.append(
            _SYNONYMS.format(
                kind=sql.Literal(TextKind.SYNONYM.value),
                concept_synonym=concept_synonym,
                languages=sql.Literal(list(recipe.synonym_languages)),
            )
        )
    if "codes" in recipe.texts:
        texts.append(_CODES.format(kind=sql.Literal(TextKind.CODE.value)))
    return _WANTED.format(
        concept=concept,
        condition=_condition(recipe.concept_filter),
        limit=sql.SQL("")
        if limit is None
        else sql.SQL("order by concept_id limit {}").format(sql.Literal(limit)),
        texts=sql.SQL(" union all ").join(texts),
        hash=text_hash_sql(recipe.template),
    )


def _condition(concept_filter: ConceptFilter) -> sql.Composable:
    clauses: list[sql.Composable] = [sql.SQL("true")]
    for column, wanted in (
        ("domain_id", concept_filter.domains),
        ("vocabulary_id", concept_filter.vocabularies),
        ("concept_class_id", concept_filter.concept_classes),
    ):
        if wanted is not None:
            clauses.append(
                sql.SQL("{} = any(cast({} as text[]))").format(
                    sql.Identifier(column), sql.Literal(list(wanted))
                )
            )
    if concept_filter.concept_ids is not None:
        clauses.append(
            sql.SQL("concept_id = any(cast({} as integer[]))").format(
                sql.Literal(list(concept_filter.concept_ids))
            )
        )
    if concept_filter.standard_only:
        clauses.append(sql.SQL("standard_concept = 'S'"))
    if concept_filter.valid_only:
        clauses.append(sql.SQL("nullif(invalid_reason, '') is null"))
    return sql.SQL(" and ").join(clauses)
