"""Vocabulary downloads in small, for the tests to load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

Download = Callable[..., Path]
ConceptLine = Callable[..., str]

CONCEPT_HEADER = (
    "concept_id\tconcept_name\tdomain_id\tvocabulary_id\tconcept_class_id\tstandard_concept\tconcept_code\t"
    "valid_start_date\tvalid_end_date\tinvalid_reason"
)
_HEADERS = {
    "CONCEPT": CONCEPT_HEADER,
    "CONCEPT_SYNONYM": "concept_id\tconcept_synonym_name\tlanguage_concept_id",
    "CONCEPT_RELATIONSHIP": (
        "concept_id_1\tconcept_id_2\trelationship_id\tvalid_start_date\tvalid_end_date\tinvalid_reason"
    ),
    "CONCEPT_ANCESTOR": (
        "ancestor_concept_id\tdescendant_concept_id\tmin_levels_of_separation\tmax_levels_of_separation"
    ),
    "VOCABULARY": (
        "vocabulary_id\tvocabulary_name\tvocabulary_reference\tvocabulary_version\tvocabulary_concept_id"
    ),
    "DOMAIN": "domain_id\tdomain_name\tdomain_concept_id",
}


@pytest.fixture(scope="module")
def shared_conninfo(
    server_conninfo: str,
    migrated_template: str,
    new_database: Callable[[str], AbstractContextManager[str]],
) -> Iterator[str]:
    """A database that has our schema, one for a module whose tests commit nothing or undo it."""
    with new_database(migrated_template) as name:
        yield make_conninfo(server_conninfo, dbname=name)


@pytest.fixture
def shared_connection(shared_conninfo: str) -> Iterator[psycopg.Connection]:
    """A connection to the module's database; what the test does is rolled back."""
    opened = psycopg.connect(shared_conninfo)
    try:
        yield opened
        opened.rollback()
    finally:
        opened.close()


@pytest.fixture(scope="session")
def concept_line() -> ConceptLine:
    """A line of CONCEPT.csv: a valid standard condition of SNOMED, but for the columns given."""

    def line(concept_id: int | str, concept_name: str, **columns: str) -> str:
        fields = {
            "concept_id": str(concept_id),
            "concept_name": concept_name,
            "domain_id": "Condition",
            "vocabulary_id": "SNOMED",
            "concept_class_id": "Disorder",
            "standard_concept": "S",
            "concept_code": f"C{concept_id}",
            "valid_start_date": "19700101",
            "valid_end_date": "20991231",
            "invalid_reason": "",
        }
        return "\t".join({**fields, **columns}.values())

    return line


@pytest.fixture
def download(tmp_path: Path) -> Download:
    """Writes a folder as Athena delivers it: table to the lines after the header, or to the whole file."""

    def write(folder: str = "release", /, **tables: list[str] | bytes) -> Path:
        path = tmp_path / folder
        path.mkdir()
        for table, lines in tables.items():
            if not isinstance(lines, bytes):
                lines = "".join(f"{line}\n" for line in [_HEADERS[table], *lines]).encode()
            (path / f"{table}.csv").write_bytes(lines)
        return path

    return write
