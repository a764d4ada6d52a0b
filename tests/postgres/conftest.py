"""Vocabulary downloads in small, for the tests to load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Download = Callable[..., Path]

CONCEPT_HEADER = (
    "concept_id\tconcept_name\tdomain_id\tvocabulary_id\tconcept_class_id\tstandard_concept\tconcept_code\t"
    "valid_start_date\tvalid_end_date\tinvalid_reason"
)


def concept_line(concept_id: int, name: str, **changes: str) -> str:
    """A line of CONCEPT.csv: a valid standard condition of SNOMED, with these columns changed."""
    fields = {
        "concept_id": str(concept_id),
        "concept_name": name,
        "domain_id": "Condition",
        "vocabulary_id": "SNOMED",
        "concept_class_id": "Disorder",
        "standard_concept": "S",
        "concept_code": f"C{concept_id}",
        "valid_start_date": "19700101",
        "valid_end_date": "20991231",
        "invalid_reason": "",
    }
    return "\t".join({**fields, **changes}.values())


@pytest.fixture
def download(tmp_path: Path) -> Download:
    """Writes a folder as Athena delivers it: file name to lines (or bytes), CONCEPT.csv with its header."""

    def write(folder: str = "release", /, **files: list[str] | bytes) -> Path:
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        for name, lines in files.items():
            content = lines if isinstance(lines, bytes) else "".join(f"{line}\n" for line in lines).encode()
            (path / f"{name}.csv").write_bytes(content)
        return path

    return write
