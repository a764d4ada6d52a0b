"""Small vocabularies that a test can change, and a model that records the texts it was sent."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from sqlalchemy import Engine

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.database.engine import driver_connection
from omop_emb.errors import ProviderError, TextRejectedError
from omop_emb.providers.base import EmbeddingResponse, Limits, ModelInfo
from omop_emb.spaces.recipe import Recipe, texts_query
from omop_emb.vocabulary import loader
from omop_emb.vocabulary.reader import require_vocabulary

ENGLISH, GERMAN = 4180186, 4182504


@dataclass(frozen=True)
class ConceptRow:
    """A concept of a small vocabulary, with its English and German synonyms and its relationships."""

    concept_id: int
    name: str
    domain: str = "Condition"
    vocabulary: str = "SNOMED"
    concept_class: str = "Disorder"
    standard: str = "S"
    invalid: str = ""
    synonyms: tuple[str, ...] = ()
    german: tuple[str, ...] = ()
    code: str | None = None
    relationships: tuple[tuple[str, int], ...] = ()
    ancestors: tuple[tuple[int, int], ...] = ()  # each with its levels above


@dataclass
class SmallVocabulary:
    """A vocabulary that is loaded again after each change."""

    engine: Engine
    folder: Path
    rows: dict[int, ConceptRow] = field(default_factory=dict)
    release: int = 0

    def load(self, *rows: ConceptRow, without: Sequence[int] = ()) -> None:
        """Add, replace and remove rows, and load the result as the next release."""
        self.rows.update({row.concept_id: row for row in rows})
        for concept_id in without:
            del self.rows[concept_id]
        self.release += 1
        self._write()
        with self.engine.connect() as connection:
            loader.load_vocabulary(driver_connection(connection), self.folder, allow_shrink=True)
            driver_connection(connection).commit()

    def change(self, concept_id: int, **changes: Any) -> None:
        """Change a concept and load the next release."""
        self.load(replace(self.rows[concept_id], **changes))

    def _write(self) -> None:
        def write(name: str, header: str, lines: list[Sequence[object]]) -> None:
            body = "".join("\t".join(map(str, line)) + "\n" for line in lines)
            (self.folder / name).write_text(header.replace(" ", "\t") + "\n" + body, encoding="utf-8")

        rows = sorted(self.rows.values(), key=lambda row: row.concept_id)
        write(
            "CONCEPT.csv",
            "concept_id concept_name domain_id vocabulary_id concept_class_id standard_concept concept_code "
            "valid_start_date valid_end_date invalid_reason",
            [
                (
                    row.concept_id,
                    row.name,
                    row.domain,
                    row.vocabulary,
                    row.concept_class,
                    row.standard,
                    row.code or f"C{row.concept_id}",
                    "19700101",
                    "20991231",
                    row.invalid,
                )
                for row in rows
            ],
        )
        write(
            "CONCEPT_SYNONYM.csv",
            "concept_id concept_synonym_name language_concept_id",
            [
                (row.concept_id, text, language)
                for row in rows
                for texts, language in ((row.synonyms, ENGLISH), (row.german, GERMAN))
                for text in texts
            ],
        )
        links = [(row.concept_id, other, name) for row in rows for name, other in row.relationships]
        if links:
            write(
                "CONCEPT_RELATIONSHIP.csv",
                "concept_id_1 concept_id_2 relationship_id valid_start_date valid_end_date invalid_reason",
                [(*link, "19700101", "20991231", "") for link in links],
            )
        levels = [(above, row.concept_id, levels) for row in rows for above, levels in row.ancestors]
        if levels:
            write(
                "CONCEPT_ANCESTOR.csv",
                "ancestor_concept_id descendant_concept_id min_levels_of_separation max_levels_of_separation",
                [(*link, link[-1]) for link in levels],
            )
        write(
            "VOCABULARY.csv",
            "vocabulary_id vocabulary_name vocabulary_reference vocabulary_version vocabulary_concept_id",
            [("None", "OMOP", "here", f"release {self.release}", 0)],
        )


def five_concepts(engine: Engine, folder: Path) -> SmallVocabulary:
    """Five concepts, one of them without a standard flag and one with a text of another."""
    small = SmallVocabulary(engine, folder)
    small.load(
        ConceptRow(1, "Hypertension", synonyms=("High blood pressure", "HTN"), german=("Bluthochdruck",)),
        ConceptRow(2, "Diabetes mellitus", synonyms=("Diabetes", "Diabetes")),
        ConceptRow(3, "Metformin", domain="Drug", vocabulary="RxNorm", concept_class="Ingredient"),
        ConceptRow(4, "Diabetes", domain="Observation", concept_class="Finding"),
        ConceptRow(5, "Essential hypertension", standard=""),
    )
    return small


def codes_with_values(engine: Engine, folder: Path) -> SmallVocabulary:
    """Codes that map to a concept with a value, unit or operator beside it."""
    small = SmallVocabulary(engine, folder)
    family = (("Maps to", 2), ("Maps to value", 1))
    result = (("Maps to", 5), ("Maps to operator", 6), ("Maps to number", 7), ("Maps to unit", 8))
    icd: dict[str, Any] = {"vocabulary": "ICD10CM", "concept_class": "code", "standard": ""}
    small.load(
        ConceptRow(1, "Asthma"),
        ConceptRow(2, "Family history of clinical finding", domain="Observation"),
        ConceptRow(3, "Allergy to drug", domain="Observation"),
        ConceptRow(4, "Penicillin", domain="Drug", vocabulary="RxNorm"),
        ConceptRow(5, "Lead [Mass/volume] in Blood", domain="Measurement", vocabulary="LOINC"),
        ConceptRow(6, "Less than", domain="Meas Value Operator"),
        ConceptRow(7, "Five", domain="Meas Value"),
        ConceptRow(8, "milligram", domain="Unit", vocabulary="UCUM"),
        ConceptRow(11, "Family history of asthma", code="Z82.5", relationships=family, **icd),
        ConceptRow(
            12,
            "Allergy status to penicillin",
            code="Z88.0",
            relationships=(("Maps to", 3), ("Maps to value", 4)),
            **icd,
        ),
        ConceptRow(13, "Lead under 5 mg", code="LAB1", relationships=result, **icd),
        ConceptRow(
            14,
            "Asthma in family",
            code="Z82.50",
            invalid="U",
            relationships=(("Concept replaced by", 11),),
            **icd,
        ),
    )
    return small


def text_vector(text: str, dimensions: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A vector that depends on the text alone."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(dimensions).astype(np.float32)


class CountingProvider:
    """A model whose vectors depend on the text alone; it remembers every text that it was sent."""

    name = "counting"

    def __init__(
        self,
        model: str = "m",
        *,
        dimensions: int = 8,
        batch_texts: int = 4,
        seconds: float = 0.0,
        refuses: Sequence[str] = (),
        fails_after: int | None = None,
        on_batch: Callable[[], None] | None = None,
    ) -> None:
        self.model = model
        self.limits = Limits(batch_texts=batch_texts)
        self.tasks: dict[EmbeddingRole, str] = {}
        self.sent: list[str] = []
        self._dimensions, self._seconds = dimensions, seconds
        self._refuses, self._fails_after, self._on_batch = set(refuses), fails_after, on_batch
        self._lock = threading.Lock()

    def embed_batch(
        self, texts: Sequence[str], role: EmbeddingRole, *, timeout_seconds: float
    ) -> EmbeddingResponse:
        assert role is EmbeddingRole.DOCUMENT
        with self._lock:
            if self._fails_after is not None and len(self.sent) + len(texts) > self._fails_after:
                raise ProviderError("the model is down")
            refused = [position for position, text in enumerate(texts) if text in self._refuses]
            if refused:
                raise TextRejectedError("not a text that this model takes", positions=refused)
            self.sent += texts
        if self._seconds:
            time.sleep(self._seconds)
        if self._on_batch is not None:
            self._on_batch()
        return EmbeddingResponse(np.stack([text_vector(text, self._dimensions) for text in texts]))

    def model_info(self, *, timeout_seconds: float) -> ModelInfo:
        return ModelInfo(revision="1", dimensions=self._dimensions)


def counting_client(provider: CountingProvider | None = None, prefix: str = "") -> EmbeddingClient:
    return EmbeddingClient(
        provider=provider or CountingProvider(), document_prefix=prefix, query_prefix="q: "
    )


def desired_texts(connection: psycopg.Connection[Any], recipe: Recipe) -> list[tuple[int, str, str]]:
    """(concept_id, kind, text) of all texts that a build would embed, in order."""
    tables = require_vocabulary(connection)
    query = texts_query(recipe, concept=tables.concept, concept_synonym=tables.concept_synonym)
    return sorted((concept_id, kind, text) for concept_id, kind, _, text, *_ in connection.execute(query))


def stored_vectors(connection: psycopg.Connection[Any], space_id: int) -> dict[tuple[int, str, str], bytes]:
    """(concept_id, kind, text) -> the bytes of the vector, of all rows of a space."""
    query = psycopg.sql.SQL(
        "select t.concept_id, t.text_kind, t.text, halfvec_send(r.embedding) from {} t full join {} r "
        "using (concept_id, text_kind, text_hash)"
    ).format(
        psycopg.sql.Identifier("omop_emb", f"space_{space_id}_text"),
        psycopg.sql.Identifier("omop_emb", f"space_{space_id}"),
    )
    rows = connection.execute(query).fetchall()
    assert all(None not in row for row in rows), "a text without a vector, or a vector without a text"
    return {row[:3]: row[3] for row in rows}
