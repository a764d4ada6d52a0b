"""Records: plain values that packages share, such as roles, metrics, filters, matches and fingerprints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from enum import Enum

from omop_emb.errors import InputError


class EmbeddingRole(Enum):
    """The role of a text: a document that is searched, or a query that searches."""

    DOCUMENT = "document"
    QUERY = "query"


class IndexType(Enum):
    """How a space's vectors are searched: FLAT is exact, HNSW is approximate and fast."""

    FLAT = "flat"
    HNSW = "hnsw"


class MetricType(Enum):
    """The distance by which concepts are ranked; smaller is nearer for each of them.

    COSINE: 1 - cosine, 0 to 2. L2: Euclidean, 0 to 2 on unit rows. INNER_PRODUCT: minus the inner
    product, -1 to 1 on unit rows. L1: sum of absolute differences, 0 to 2 * sqrt(dimensions).
    """

    COSINE = "cosine"
    L2 = "l2"
    INNER_PRODUCT = "inner_product"
    L1 = "l1"


class TextKind(Enum):
    """Which of a concept's texts a row embeds; the value is what the database stores."""

    NAME = "n"
    SYNONYM = "s"
    CODE = "c"
    ALIAS = "a"


def _plural(values: str | Iterable[str] | None) -> tuple[str, ...] | None:
    if values is None:
        return None
    if isinstance(values, str):
        values = (values,)
    return tuple(sorted(set(values)))


@dataclass(frozen=True, kw_only=True)
class ConceptFilter:
    """Which concepts may be returned; None or False sets no limit.

    Limits are applied inside the search, so that k concepts come back whenever k exist. An empty sequence
    lets nothing through.
    """

    domains: tuple[str, ...] | None = None
    vocabularies: tuple[str, ...] | None = None
    concept_classes: tuple[str, ...] | None = None
    concept_ids: tuple[int, ...] | None = None
    standard_only: bool = False
    valid_only: bool = False

    def __post_init__(self) -> None:
        for name in ("domains", "vocabularies", "concept_classes"):
            object.__setattr__(self, name, _plural(getattr(self, name)))
        if self.concept_ids is not None:
            ids: list[int] = []
            for concept_id in self.concept_ids:
                if isinstance(concept_id, bool) or int(concept_id) != concept_id:
                    raise InputError(f"a concept id is a whole number; found {concept_id!r}")
                ids.append(int(concept_id))
            object.__setattr__(self, "concept_ids", tuple(sorted(set(ids))))

    @property
    def is_empty(self) -> bool:
        """Whether the filter lets every concept through."""
        return self == ConceptFilter()


@dataclass(frozen=True, slots=True)
class ConceptMatch:
    """A concept that matches a query.

    Attributes:
        concept_id: OMOP concept id.
        concept_name: its name, as of the space's last build.
        domain_id, vocabulary_id, concept_class_id, standard_concept, concept_code: as in OMOP's
            CONCEPT table; None where the concept is not in the vocabulary.
        matched_text: the concept's text that matched: its name, a synonym or its code.
        distance: in the requested metric, smaller is nearer (see MetricType).
        similarity: cosine similarity whatever the metric, -1 to 1, larger is nearer.
    """

    concept_id: int
    concept_name: str
    domain_id: str | None
    vocabulary_id: str | None
    concept_class_id: str | None
    standard_concept: str | None
    concept_code: str | None
    matched_text: str
    distance: float
    similarity: float


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Everything that shapes a vector; two vectors may be compared only if theirs are equal."""

    provider: str  # such as "local" or "ollama"
    model: str  # the provider's name for it
    revision: str  # identifies the weights (a digest, a commit, file hashes); "" where the provider has none
    dimensions: int  # after any Matryoshka cut
    document_prefix: str = ""  # put before a text, exactly
    query_prefix: str = ""
    document_task: str = ""  # the provider's task types, where it has them
    query_task: str = ""
    normalisation: str = "l2"  # the only one

    @property
    def digest(self) -> str:
        """SHA-256 of the fields, as 64 hexadecimal digits."""
        canonical = json.dumps(asdict(self), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def differences(self, other: Fingerprint) -> list[str]:
        """The fields in which two fingerprints differ, each as "name 'mine', not 'theirs'"."""
        return [
            f"{name} {getattr(self, name)!r}, not {getattr(other, name)!r}"
            for name in (entry.name for entry in fields(self))
            if getattr(self, name) != getattr(other, name)
        ]


@dataclass(frozen=True, slots=True)
class Concept:
    """A row of OMOP's CONCEPT table, without its dates."""

    concept_id: int
    concept_name: str
    domain_id: str | None = None
    vocabulary_id: str | None = None
    concept_class_id: str | None = None
    standard_concept: str | None = None
    concept_code: str | None = None
    invalid_reason: str | None = None
