"""Records: plain values that packages share, such as roles, metrics, filters, matches and fingerprints."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum
from numbers import Integral, Number
from typing import Any, Self

from omop_emb.errors import InputError, checked_keywords


class Choice(Enum):
    """An enumeration whose members may also be written as text: by value or name, in any case."""

    @classmethod
    def parse(cls, value: object, name: str) -> Self:
        """The member that is meant; for anything else, InputError with `name`, that of the parameter."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            written = value.strip().lower().replace("-", "_").replace(" ", "_")
            for member in cls:
                if written in (member.value, member.name.lower()):
                    return member
        members = ", ".join(f"{cls.__name__}.{member.name}" for member in cls)
        values = ", ".join(repr(member.value) for member in cls)
        found = shown_value(value) if isinstance(value, str) else type(value).__name__
        raise InputError(f"{name} must be one of {members}, or {values}; found {found}")


class EmbeddingRole(Choice):
    """The role of a text: a document that is searched, or a query that searches."""

    DOCUMENT = "document"
    QUERY = "query"


class IndexType(Choice):
    """How a space's vectors are searched: FLAT is exact, HNSW is approximate and fast."""

    FLAT = "flat"
    HNSW = "hnsw"


class MetricType(Choice):
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


MAX_CONCEPT_ID = 2**31 - 1  # OMOP's concept_id is an integer of 32 bits (decisions/0013)


_WRITTEN_ID = re.compile(r"(-?)0{0,20}([0-9]{1,10})(?:\.0{1,20})?")


def parse_concept_id(text: str) -> int | None:
    """The concept id that a text is, also as a whole number with decimals (317009.0); None if it is none.

    Digits of other scripts, exponents, grouped digits and what does not fit 32 bits are none.
    """
    match = _WRITTEN_ID.fullmatch(text.strip())
    concept_id = int(match[1] + match[2]) if match else None
    return concept_id if concept_id is None or abs(concept_id) <= MAX_CONCEPT_ID else None


def shown_number(number: int) -> str:
    """A number as errors show it; Python writes none of over 4,300 digits."""
    return str(number) if abs(number) < 10**20 else "one of over 20 digits"


def shown_value(value: object) -> str:
    """A wrong value as errors show it; of a long one, which may be a patient's text, its type."""
    if isinstance(value, int) and not isinstance(value, bool):
        return shown_number(value)
    plain = value is None or isinstance(value, str | bytes | Number)
    return shown if plain and len(shown := repr(value)) <= 22 else type(value).__name__


def whole_number(value: object, name: str, *, least: int = 1) -> int:
    """The number that a caller gave for the parameter `name`; numpy's integers too."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(f"{name} must be a whole number, at least {least}; found {shown_value(value)}")
    return int(value)


def true_or_false(value: object, name: str) -> bool:
    """The value that a caller gave for the parameter `name`; numpy's too."""
    if not isinstance(value, bool) and type(value).__name__ not in ("bool_", "bool"):
        raise InputError(f"{name} must be True or False; found {shown_value(value)}")
    return bool(value)


def _names(field: str, values: object) -> tuple[str, ...] | None:
    if values is None:
        return None
    listed = (values,) if isinstance(values, str) else _listed(field, values)
    for value in listed:
        if not isinstance(value, str):
            raise InputError(f"{field} must be names; found {type(value).__name__} in it")
    return tuple(sorted(set(listed)))


def _ids(values: object) -> tuple[int, ...] | None:
    if values is None:
        return None
    # 5.0 and numpy's integers too, which pandas makes of whole numbers.
    ids = set()
    for value in _listed("concept_ids", values):
        is_number = isinstance(value, Number) and not isinstance(value, bool | complex)
        if not is_number or value % 1 != 0:
            raise InputError(f"a concept id is a whole number; found {value!r}")
        ids.add(int(value))
    if ids and not -MAX_CONCEPT_ID <= min(ids) <= max(ids) <= MAX_CONCEPT_ID:
        raise InputError(f"a concept id must fit 32 bits; found {shown_number(max(ids, key=abs))}")
    return tuple(sorted(ids))


def _listed(field: str, values: object) -> tuple[Any, ...]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InputError(f"{field} must be a sequence; found {type(values).__name__}")
    return tuple(values)


@checked_keywords
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
            object.__setattr__(self, name, _names(name, getattr(self, name)))
        object.__setattr__(self, "concept_ids", _ids(self.concept_ids))
        for name in ("standard_only", "valid_only"):
            object.__setattr__(self, name, true_or_false(getattr(self, name), name))

    @classmethod
    def parse(cls, value: object) -> ConceptFilter | None:
        """The value, if it is a filter or None; InputError otherwise."""
        if value is None or isinstance(value, cls):
            return value
        raise InputError(
            "concept_filter must be a ConceptFilter, such as ConceptFilter(domains='Condition'); "
            f"found {type(value).__name__}"
        )

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


def counted(count: int, one: str, many: str = "") -> str:
    """A count and what it counts, for messages: "1 term", "2,000 terms"; `many` is `one` with an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
