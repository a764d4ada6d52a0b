"""Demo: messy source terms mapped to the sample vocabulary, without touching other data."""

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
from omop_emb.interface.interface import EmbeddingInterface
from omop_emb.records import ConceptFilter, IndexType, MetricType, counted
from omop_emb.spaces import registry
from omop_emb.vocabulary import loader, reader

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from omop_emb.mapping.records import MappedTerm

_DATA = Path(__file__).parents[1] / "data"
SAMPLE = _DATA / "sample-vocabulary"
# Variables that send other commands to another database or model than the demo's.
_REDIRECTING_VARIABLES = ("OMOP_EMB_DATABASE_URL", *config.SPACE_VARIABLES)
_CANDIDATES = 10  # of each term, among which the expected concept is looked for


@dataclass(frozen=True, slots=True)
class DemoTerm:
    """A source term as a hospital writes it.

    Attributes:
        concept_id: the concept that its author meant; None if the sample has none.
        kind: how the term is messy.
    """

    source_term: str
    concept_id: int | None
    kind: str


@dataclass(frozen=True, slots=True)
class DemoHit:
    """What a term was mapped to.

    Attributes:
        rank: of the expected concept among the first ten candidates, 1 the best; None if it is not among
            them, or if no concept is expected.
        hnsw_agrees: whether the HNSW index finds the same nearest concept as an exact search.
    """

    term: DemoTerm
    mapped: MappedTerm
    rank: int | None
    hnsw_agrees: bool

    @property
    def is_correct(self) -> bool | None:
        """Whether the first candidate is the expected concept; None if none is expected."""
        return None if self.term.concept_id is None else self.rank == 1


@dataclass(frozen=True)
class DemoResult:
    """What the demo did; `hits` are in the order of terms().

    Attributes:
        data_dir: folder of the embedded server with the demo's database.
        command_prefix: to put before other commands, so that they find the demo's data; usually "".
        concepts, texts: how many the sample has, and each of the two spaces.
        embedded: texts embedded by this run; 0 if an earlier run did it all.
    """

    hits: Sequence[DemoHit]
    data_dir: Path
    command_prefix: str
    concepts: int
    texts: int
    embedded: int

    def correct_within(self, count: int) -> int:
        """How many terms have the expected concept among their first `count` candidates."""
        return sum(hit.rank is not None and hit.rank <= count for hit in self.hits)

    @property
    def expected(self) -> int:
        """How many terms have an expected concept."""
        return sum(hit.term.concept_id is not None for hit in self.hits)


def terms() -> list[DemoTerm]:
    """The packaged source terms, with the concept that the author of each meant."""
    with (_DATA / "demo" / "terms.csv").open(encoding="utf-8", newline="") as file:
        return [
            DemoTerm(row["source_term"], int(row["concept_id"]) if row["concept_id"] else None, row["kind"])
            for row in csv.DictReader(file)
        ]


def run_demo(on_message: Callable[[str], None]) -> DemoResult:
    """Load the sample vocabulary, embed it into an HNSW (active) and a FLAT space, and map terms().

    Steps that an earlier run did are skipped. The database is the embedded server's default one if it holds
    nothing but the sample, otherwise that of a separate server (docs/decisions/0001). The model is always
    the packaged one, so that nothing leaves the machine.

    Args:
        on_message: called with a line for the user before each slow step.

    Raises:
        ConfigurationError: OMOP_EMB_VOCABULARY_SCHEMA is set, which hides the sample.
        MissingExtraError: the extra `embedded` or `local` is not installed.
    """
    if config.variable("OMOP_EMB_VOCABULARY_SCHEMA") is not None:
        raise ConfigurationError(
            "the demo has its own vocabulary, but OMOP_EMB_VOCABULARY_SCHEMA names another: "
            "run env -u OMOP_EMB_VOCABULARY_SCHEMA omop-emb demo"
        )
    client = EmbeddingClient(
        config.DEFAULT_MODEL, dimensions=384, document_prefix="", query_prefix="", warn=False
    )
    engine, data_dir, is_default = _open_database(on_message)
    try:
        with session_scope(engine) as session:
            connection = driver_connection(session)
            if reader.vocabulary_status(connection) is None:
                on_message(f"loading the sample vocabulary, {counted(_sample_concepts(), 'concept')}")
                loader.load_vocabulary(connection, SAMPLE)
        builds = []
        # HNSW first: it becomes the active space, and stays it when a real vocabulary is built.
        for index_type in (IndexType.HNSW, IndexType.FLAT):
            on_message(f"building or updating the {index_type.name} space")
            builds.append(build_index(engine, client, index_type=index_type))
        return DemoResult(
            hits=_map_terms(engine, client),
            data_dir=data_dir,
            command_prefix=_command_prefix(data_dir, is_default),
            concepts=_sample_concepts(),
            texts=builds[0].unchanged + builds[0].reused + builds[0].embedded,
            embedded=sum(build.embedded_texts for build in builds),
        )
    finally:
        engine.dispose()


def _open_database(on_message: Callable[[str], None]) -> tuple[Engine, Path, bool]:
    """The engine, its server's folder, and whether other commands use that folder by default."""
    default = config.data_dir()
    if config.variable("OMOP_EMB_DATABASE_URL") is None:
        on_message(f"PostgreSQL in {default}")
        engine = database_engine(data_dir=default)
        with session_scope(engine) as session:
            connection = driver_connection(session)
            status = reader.vocabulary_status(connection)
            if _is_sample(status) or (status is None and not registry.all_spaces(connection)):
                return engine, default, True
        engine.dispose()
        on_message("that database holds other data, which stays unchanged")
    else:
        on_message("the database of OMOP_EMB_DATABASE_URL stays unchanged")
    own = default.with_name(f"{default.name}-demo")
    on_message(f"PostgreSQL for the demo only in {own}")
    return database_engine(data_dir=own), own, False


def _command_prefix(data_dir: Path, is_default: bool) -> str:
    """Unsets the variables that lead elsewhere, and names the demo's own server."""
    words = [
        word for name in _REDIRECTING_VARIABLES if config.variable(name) is not None for word in ("-u", name)
    ]
    if not is_default:
        words.append(f"OMOP_EMB_DATA_DIR={shlex.quote(str(data_dir))}")
    return " ".join(["env", *words, ""]) if words else ""


def _map_terms(engine: Engine, client: EmbeddingClient) -> list[DemoHit]:
    """Map each term, and find its nearest concept exactly and through the HNSW index."""
    from omop_emb.mapping.mapper import map_terms
    from omop_emb.mapping.settings import Settings

    demo_terms = terms()
    names = [term.source_term for term in demo_terms]
    with session_scope(engine) as session:
        mapped = map_terms(session, names, client=client, settings=Settings(candidates=_CANDIDATES))
        exact, approximate = (
            EmbeddingInterface(client).get_nearest_concepts_from_query_texts(
                session=session,
                index_type=index_type,
                query_texts=names,
                metric_type=MetricType.COSINE,
                k=1,
                concept_filter=ConceptFilter(standard_only=True, valid_only=True),
            )
            for index_type in (IndexType.FLAT, IndexType.HNSW)
        )
    return [
        DemoHit(
            term=term,
            mapped=result,
            rank=next((c.rank for c in result.candidates if c.concept_id == term.concept_id), None),
            hnsw_agrees=nearest[0].concept_id == by_hnsw[0].concept_id,
        )
        for term, result, nearest, by_hnsw in zip(demo_terms, mapped, exact, approximate, strict=True)
    ]


def _is_sample(status: reader.VocabularyStatus | None) -> bool:
    if status is None:
        return False
    return status.source == SAMPLE.name and status.rows.get("concept") == _sample_concepts()


@cache
def _sample_concepts() -> int:
    with (SAMPLE / "CONCEPT.csv").open("rb") as file:
        return sum(1 for _ in file) - 1
