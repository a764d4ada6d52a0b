"""Recipe: which concepts of a vocabulary are embedded, which of their texts, and in which template."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from string import Formatter
from typing import Any

from psycopg import sql

from omop_emb.errors import ConfigurationError
from omop_emb.records import ConceptFilter, TextKind
from omop_emb.vocabulary.languages import ENGLISH as ENGLISH

DEFAULT_TEXTS = "name+synonyms"
TEXT_CHOICES = ("name", "name+synonyms", "name+synonyms+codes")
TEMPLATE_FIELDS = ("text", "concept_name", "domain_id", "vocabulary_id", "concept_class_id", "concept_code")
STANDARD_AND_VALID = ConceptFilter(standard_only=True, valid_only=True)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a space embeds of a vocabulary.

    Raises:
        ConfigurationError: `texts` is none of the choices, or the template is invalid.
    """

    texts: str = DEFAULT_TEXTS  # one of TEXT_CHOICES
    # what is made of each text before it is embedded, such as "{concept_name} ({domain_id})"; "" leaves it
    # unchanged. {text} is the text; in a template without it, {concept_name} is
    template: str = ""
    # OMOP's concept ids of the languages whose synonyms are embedded
    synonym_languages: tuple[int, ...] = (ENGLISH,)
    concept_filter: ConceptFilter = STANDARD_AND_VALID  # which concepts

    def __post_init__(self) -> None:
        if self.texts not in TEXT_CHOICES:
            raise ConfigurationError(f"texts must be one of {', '.join(TEXT_CHOICES)}; found {self.texts!r}")
        _parse_template(self.template)

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
    """A filter as plain values, limits only."""
    return {name: value for name, value in asdict(concept_filter).items() if value not in (None, False)}


def filter_from_json(selection: dict[str, Any]) -> ConceptFilter:
    """The inverse of filter_to_json()."""
    return ConceptFilter(**selection)


def _parse_template(template: str) -> list[tuple[str, str | None]]:
    """The template as literal texts, each with the field that follows it."""
    if template == "":
        return [("", "text")]
    try:
        parts = list(Formatter().parse(template))
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
    text_field = "text" if "text" in names else "concept_name"
    return [(literal, "text" if name == text_field else name) for literal, name, _, _ in parts]


def fill_template(template: str, text: str, fields: dict[str, str | None]) -> str:
    """What is embedded for a text, without the model's prefix; a field that is None is left empty."""
    return "".join(
        literal + ("" if name is None else text if name == "text" else fields[name] or "")
        for literal, name in _parse_template(template)
    )


def template_sql(template: str) -> sql.Composable:
    """fill_template() as SQL over the columns of a space's text table."""
    parts: list[sql.Composable] = []
    for literal, name in _parse_template(template):
        if literal:
            parts.append(sql.Literal(literal))
        if name is not None:
            parts.append(sql.Identifier(name))
    if len(parts) == 1:
        return parts[0]
    return sql.SQL("concat({})").format(sql.SQL(", ").join(parts))


# upsert.text_hash() as SQL: the first 8 bytes of the text's SHA-256 as a bigint.
_HASH = sql.SQL("('x' || encode(substr(sha256(convert_to({input}, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint")

_TEXTS = sql.SQL(
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
_LIMIT = sql.SQL("order by concept_id limit {}")
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
    """upsert.text_hash() of what is embedded, as SQL over the columns of a space's text table."""
    return _HASH.format(input=template_sql(template))


def texts_query(
    recipe: Recipe,
    *,
    concept: sql.Composable,
    concept_synonym: sql.Composable | None,
    limit: int | None = None,
) -> sql.Composed:
    """A query for the texts that a space should hold, with the columns of its text table.

    `limit` takes only so many concepts, those with the lowest ids.
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
    return _TEXTS.format(
        concept=concept,
        condition=_condition(recipe.concept_filter),
        limit=sql.SQL("") if limit is None else _LIMIT.format(sql.Literal(limit)),
        texts=sql.SQL(" union all ").join(texts),
        hash=text_hash_sql(recipe.template),
    )


def _condition(concept_filter: ConceptFilter) -> sql.Composable:
    clauses: list[sql.Composable] = [sql.SQL("true")]
    for template, values in (
        (sql.SQL("domain_id = any(cast({} as text[]))"), concept_filter.domains),
        (sql.SQL("vocabulary_id = any(cast({} as text[]))"), concept_filter.vocabularies),
        (sql.SQL("concept_class_id = any(cast({} as text[]))"), concept_filter.concept_classes),
        (sql.SQL("concept_id = any(cast({} as integer[]))"), concept_filter.concept_ids),
    ):
        if values is not None:
            clauses.append(template.format(sql.Literal(list(values))))
    if concept_filter.standard_only:
        clauses.append(sql.SQL("standard_concept = 'S'"))
    if concept_filter.valid_only:
        clauses.append(sql.SQL("nullif(invalid_reason, '') is null"))
    return sql.SQL(" and ").join(clauses)
