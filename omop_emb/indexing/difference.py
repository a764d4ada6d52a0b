"""Build differences: what of a vocabulary a space lacks, computed inside the database.

Nothing is compared on the client: names, synonyms and hashes are computed in SQL, so that ten million
concepts cost a build no memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from psycopg import sql

from omop_emb.indexing.connections import Connection
from omop_emb.spaces import registry
from omop_emb.spaces.recipe import Recipe, template_sql, texts_query
from omop_emb.spaces.registry import Space
from omop_emb.spaces.tables import KEY_COLUMNS, TEXT_COLUMNS
from omop_emb.sql import read
from omop_emb.vocabulary import reader

_TABLES = ("desired_texts", "missing_texts", "surplus_texts", "reusable_vectors")
_SAMPLE_TEXTS = 1000
# Read in place of the tables of a space that does not exist yet.
_NO_ROWS = sql.SQL(
    "(select 0 as concept_id, ''::\"char\" as text_kind, 0::bigint as text_hash{} where false)"
)
_NO_TEXTS = _NO_ROWS.format(
    sql.SQL("").join(
        sql.SQL(", null::text as {}").format(sql.Identifier(column))
        for column in TEXT_COLUMNS
        if column not in KEY_COLUMNS
    )
)


@dataclass(frozen=True)
class BuildPlan:
    """What a build changes, in texts (rows of the space) unless said otherwise."""

    vocabulary_release: str | None  # that is built from; None if the vocabulary does not name it
    unchanged: int = 0  # in the space already, with their vectors
    to_embed: int = 0  # missing, without a vector in this database
    distinct_texts: int = 0  # among those to embed; each is embedded once
    characters: int = 0  # of the distinct texts
    new_concepts: int = 0  # of which the space has no text yet
    changed_concepts: int = 0  # of which the space has some texts and lacks others
    reused: int = 0  # missing, but with a vector in this database
    updated: int = 0  # of concepts whose name, domain, class, code, standard flag or validity changed
    withdrawn_concepts: int = 0  # that leave the space
    withdrawn: int = 0  # texts of these
    obsolete: int = 0  # texts of other concepts that are deleted at the end
    domain_rows: Mapping[str, int] = field(default_factory=dict)  # afterwards, by domain ("" for none)
    joined: bool = False  # other builders work on this build, and only what is left to do is counted
    loss: str = ""  # what the space would lose, where it is so much that it is refused without allow_shrink

    def followed_by(self, second: BuildPlan) -> BuildPlan:
        """Both plans of one build, the second made because the vocabulary was replaced meanwhile."""
        sums = {name: getattr(self, name) + getattr(second, name) for name in _SUMMED}
        return replace(second, joined=self.joined or second.joined, **sums)


_SUMMED = (
    *("to_embed", "distinct_texts", "characters", "new_concepts", "changed_concepts"),
    *("reused", "updated", "withdrawn_concepts", "withdrawn", "obsolete"),
)


def create_plan_tables(
    connection: Connection,
    vocabulary: reader.VocabularyTables,
    space: Space,
    recipe: Recipe,
    limit: int | None,
) -> BuildPlan:
    """Create the temporary tables of _TABLES and the view texts_to_embed, and count them."""
    connection.execute("drop view if exists pg_temp.texts_to_embed")
    connection.execute(
        "drop table if exists pg_temp.desired_texts, pg_temp.missing_texts, pg_temp.surplus_texts, "
        "pg_temp.reusable_vectors"
    )
    names = {name: sql.Identifier("pg_temp", name) for name in (*_TABLES, "texts_to_embed")}
    queries = _queries(connection, vocabulary, space, recipe, limit, names)
    for name in _TABLES:
        connection.execute(
            sql.SQL("create temporary table {} on commit drop as {}").format(
                sql.Identifier(name), queries[name]
            )
        )
        connection.execute(sql.SQL("analyze {}").format(names[name]))
    connection.execute(read("build_insert_labels"))
    connection.execute(
        sql.SQL("create temporary view texts_to_embed as {}").format(queries["texts_to_embed"])
    )
    row = connection.execute(queries["counts"]).fetchone()
    assert row is not None  # noqa: S101 - aggregates have one row
    return BuildPlan(vocabulary.version, *row)


def preview_plan(
    connection: Connection, space: Space, recipe: Recipe, *, limit: int | None = None
) -> tuple[BuildPlan, list[str]]:
    """What create_plan_tables() would count, and a sample of the texts to embed; read access is enough.

    The space need not exist (see lifecycle.propose_space). The sample is of up to 1,000 distinct texts,
    templates filled in, without a prefix, and is the same each time.
    """
    vocabulary = check_recipe(connection, recipe)
    names = {name: sql.Identifier(name) for name in (*_TABLES, "texts_to_embed")}
    queries = _queries(connection, vocabulary, space, recipe, limit, names)
    statement = sql.SQL(
        "with {}, counts as ({}) select counts.*, sample.* from counts, ({}) as sample"
    ).format(
        sql.SQL(", ").join(
            sql.SQL("{} as materialized ({})").format(names[name], queries[name]) for name in names
        ),
        queries["counts"],
        sql.SQL(read("build_sample_texts")).format(texts=sql.Literal(_SAMPLE_TEXTS)),
    )
    row = connection.execute(statement).fetchone()
    assert row is not None  # noqa: S101 - aggregates have one row
    *counts, sample = row
    return BuildPlan(vocabulary.version, *counts), sample or []


def check_recipe(connection: Connection, recipe: Recipe) -> reader.VocabularyTables:
    """The vocabulary tables that a build with this recipe reads, if the filter's values exist there."""
    vocabulary = reader.require_vocabulary(connection)
    reader.check_filter(connection, recipe.concept_filter)
    return vocabulary


def sibling_rows(connection: Connection, space: Space) -> sql.Composable:
    """The rows of the other space with the same fingerprint; the space's own if there is none."""
    for other in registry.all_spaces(connection):
        if other.fingerprint == space.fingerprint and other.space_id != space.space_id:
            return other.tables.rows
    return space.tables.rows if space.exists else _NO_ROWS.format(sql.SQL(""))


def _queries(
    connection: Connection,
    vocabulary: reader.VocabularyTables,
    space: Space,
    recipe: Recipe,
    limit: int | None,
    names: dict[str, sql.Identifier],
) -> dict[str, sql.Composed]:
    """The queries of a plan, each of which reads the results of those before it by their `names`."""
    # A limited build leaves the concepts past its limit unchanged.
    limited: sql.Composable = sql.SQL("true")
    if limit is not None:
        limited = sql.SQL("t.concept_id <= (select max(concept_id) from {desired_texts})").format(**names)
    parts: dict[str, sql.Composable] = {
        **names,
        "texts": space.tables.texts if space.exists else _NO_TEXTS,
        "concept": vocabulary.concept,
        "input": template_sql(recipe.template),
        "limited": limited,
        "sibling_rows": sibling_rows(connection, space),
    }
    return {
        "desired_texts": texts_query(
            recipe, concept=vocabulary.concept, concept_synonym=vocabulary.concept_synonym, limit=limit
        ),
        **{
            name: sql.SQL(read(f"build_{name}")).format(**parts)
            for name in ("missing_texts", "surplus_texts", "reusable_vectors", "texts_to_embed", "counts")
        },
    }
