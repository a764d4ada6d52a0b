"""The demonstration: messy source terms mapped to the sample vocabulary, from nothing, harming nothing."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from omop_emb import config
from omop_emb.database.engine import database_engine, driver_connection, session_scope
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import ConfigurationError
from omop_emb.indexing.build import build_index
from omop_emb.indexing.report import ProgressCallback
from omop_emb.interface.interface import EmbeddingInterface
from omop_emb.records import ConceptFilter, IndexType, MetricType
from omop_emb.spaces import registry
from omop_emb.vocabulary import loader, reader

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from omop_emb.mapping.records import MappedTerm

_DATA = Path(__file__).parents[1] / "data"
SAMPLE = _DATA / "sample-vocabulary"
_LEADING = (
    "OMOP_EMB_DATABASE_URL",
    "OMOP_EMB_MODEL",
    "OMOP_EMB_DIMENSIONS",
    "OMOP_EMB_DOCUMENT_EMBEDDING_PREFIX",
    "OMOP_EMB_QUERY_EMBEDDING_PREFIX",
)
_FIRST = 10  # how many candidates of a term are looked through for the one that was meant


@dataclass(frozen=True, slots=True)
class DemoTerm:
    """A source term as a hospital writes it.

    Attributes:
        source_term: the term.
        concept_id: the concept that its author meant; None where the sample has none.
        kind: in what way it is messy.
    """

    source_term: str
    concept_id: int | None
    kind: str


@dataclass(frozen=True, slots=True)
class DemoHit:
    """What was found for a term.

    Attributes:
        term: the term.
        mapped: what it maps to, with candidates, probability and reason.
        rank: the place of the concept that was meant among the first ten candidates, 1 the best; None where
            it is not among them or none was meant.
        hnsw_agrees: whether a search through the HNSW index finds the same nearest concept as an exact one.
    """

    term: DemoTerm
    mapped: MappedTerm
    rank: int | None
    hnsw_agrees: bool

    @property
    def as_meant(self) -> bool | None:
        """Whether the first candidate is the one that was meant; None where none was."""
        return None if self.term.concept_id is None else self.rank == 1


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration did.

    Attributes:
        hits: one per term, in the order of terms().
        data_dir: the folder of the embedded server that holds the database.
        prefix: what to write before another command so that it finds what the demo made; "" mostly.
        concepts, texts: how many there are in the sample, and in each of the two spaces.
        embedded: texts that were embedded this time; 0 when all was there already.
    """

    hits: Sequence[DemoHit]
    data_dir: Path
    prefix: str
    concepts: int
    texts: int
    embedded: int

    def among_first(self, count: int) -> int:
        """How many of the terms that mean a concept have it among their first `count`."""
        return sum(hit.rank is not None and hit.rank <= count for hit in self.hits)

    @property
    def meant(self) -> int:
        """How many terms mean a concept of the sample."""
        return sum(hit.term.concept_id is not None for hit in self.hits)


def terms() -> list[DemoTerm]:
    """The source terms that come with omop-emb, and what their author meant by each."""
    with (_DATA / "demo" / "terms.csv").open(encoding="utf-8", newline="") as file:
        return [
            DemoTerm(row["source_term"], int(row["concept_id"]) if row["concept_id"] else None, row["kind"])
            for row in csv.DictReader(file)
        ]


def run_demo(tell: Callable[[str], None], *, progress: ProgressCallback | None = None) -> DemoResult:
    """Load the sample vocabulary, embed it into a FLAT and an HNSW space, and map terms().

    What is there already is not done again. It works in the embedded server's usual database as long as
    that holds nothing but the sample, and otherwise in a server of its own beside it: see
    docs/decisions/0001. The model is always the packaged one, so that nothing leaves the machine.

    Args:
        tell: is called with a line for a person before each step that takes time.
        progress: is told how far embedding is.

    Raises:
        ConfigurationError: OMOP_EMB_VOCABULARY_SCHEMA is set, which hides the sample.
        MissingExtraError: the extra `embedded` or `local` is not installed.
    """
    if config.text_or_none("OMOP_EMB_VOCABULARY_SCHEMA") is not None:
        raise ConfigurationError(
            "the demo has a vocabulary of its own, and OMOP_EMB_VOCABULARY_SCHEMA names another: "
            "run env -u OMOP_EMB_VOCABULARY_SCHEMA omop-emb demo"
        )
    client = EmbeddingClient(config.DEFAULT_MODEL, dimensions=384, document_prefix="", query_prefix="")
    engine, data_dir, is_usual_place = _place(tell)
    try:
        with session_scope(engine) as session:
            connection = driver_connection(session)
            if reader.vocabulary_status(connection) is None:
                tell(f"loading the sample vocabulary, {_sample_concepts():,} concepts")
                loader.load_vocabulary(connection, SAMPLE)
        builds = []
        for index_type in (IndexType.FLAT, IndexType.HNSW):
            tell(f"bringing the {index_type.name} space up to date")
            builds.append(build_index(engine, client, index_type=index_type, on_progress=progress))
        return DemoResult(
            hits=_mapped(engine, client),
            data_dir=data_dir,
            prefix=_prefix(data_dir, is_usual_place),
            concepts=_sample_concepts(),
            texts=builds[0].unchanged + builds[0].reused + builds[0].embedded,
            embedded=sum(build.embedded_texts for build in builds),
        )
    finally:
        engine.dispose()


def _place(tell: Callable[[str], None]) -> tuple[Engine, Path, bool]:
    """The engine, its server's folder, and whether that is where other commands look."""
    usual = config.data_dir()
    if config.text_or_none("OMOP_EMB_DATABASE_URL") is None:
        tell(f"PostgreSQL in {usual}")
        engine = database_engine(data_dir=usual)
        with session_scope(engine) as session:
            connection = driver_connection(session)
            found = reader.vocabulary_status(connection)
            if _is_sample(found) or (found is None and not registry.all_spaces(connection)):
                return engine, usual, True
        engine.dispose()
        reason = "that database holds data that is not the demo's, and stays as it is"
    else:
        reason = "the database of OMOP_EMB_DATABASE_URL stays as it is"
    own = usual.with_name(f"{usual.name}-demo")
    tell(f"{reason}: PostgreSQL for the demo alone in {own}")
    return database_engine(data_dir=own), own, False


def _prefix(data_dir: Path, is_usual_place: bool) -> str:
    """What undoes the variables that lead elsewhere, and leads to the demo's own server."""
    misleading = [name for name in _LEADING if config.variable(name) is not None]
    words = [word for name in misleading for word in ("-u", name)]
    if not is_usual_place:
        words.append(f"OMOP_EMB_DATA_DIR={shlex.quote(str(data_dir))}")
    return " ".join(["env", *words, ""]) if words else ""


def _mapped(engine: Engine, client: EmbeddingClient) -> list[DemoHit]:
    """Each term mapped, and its nearest concept found exactly and through the HNSW index."""
    from omop_emb.mapping.mapper import map_terms
    from omop_emb.mapping.settings import Settings

    listed = terms()
    names = [term.source_term for term in listed]
    with session_scope(engine) as session:
        mapped = map_terms(session, names, client=client, settings=Settings(candidates=_FIRST))
        nearest = {
            index_type: EmbeddingInterface(client).get_nearest_concepts_from_query_texts(
                session=session,
                index_type=index_type,
                query_texts=names,
                metric_type=MetricType.COSINE,
                k=1,
                concept_filter=ConceptFilter(standard_only=True, valid_only=True),
            )
            for index_type in (IndexType.FLAT, IndexType.HNSW)
        }
    return [
        DemoHit(
            term=term,
            mapped=result,
            rank=next((c.rank for c in result.candidates if c.concept_id == term.concept_id), None),
            hnsw_agrees=exact[0].concept_id == approximate[0].concept_id,
        )
        for term, result, exact, approximate in zip(
            listed, mapped, nearest[IndexType.FLAT], nearest[IndexType.HNSW], strict=True
        )
    ]


def _is_sample(found: reader.VocabularyStatus | None) -> bool:
    return (
        found is not None and found.source == SAMPLE.name and found.rows.get("concept") == _sample_concepts()
    )


@cache
def _sample_concepts() -> int:
    with (SAMPLE / "CONCEPT.csv").open("rb") as file:
        return sum(1 for _ in file) - 1
