"""The changes from one release to the next, concept by concept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from omop_emb.errors import VocabularyError
from omop_emb.vocabulary.changes import vocabulary_changes
from omop_emb.vocabulary.loader import load_vocabulary

Download = Callable[..., Path]
ConceptLine = Callable[..., str]


def test_each_kind_of_change_is_reported(
    connection: psycopg.Connection, download: Download, concept_line: ConceptLine
) -> None:
    def link(one: int, other: int, relationship: str = "Maps to") -> str:
        return f"{one}\t{other}\t{relationship}\t19700101\t20991231\t"

    load_vocabulary(
        connection,
        download(
            "old",
            CONCEPT=[
                concept_line(1, "Unchanged"),
                concept_line(2, "Dropsy"),
                concept_line(3, "Removed"),
                concept_line(4, "Withdrawn"),
                concept_line(5, "Once standard"),
                concept_line(6, "Not yet standard", standard_concept=""),
                concept_line(7, "Moved"),
                concept_line(8, "Source", standard_concept=""),
                concept_line(9, "Invalid once", invalid_reason="D"),
                concept_line(10, "Two things at once"),
            ],
            CONCEPT_RELATIONSHIP=[link(1, 1), link(8, 1), link(8, 2)],
        ),
    )
    with pytest.raises(VocabularyError, match="nothing to compare with"):
        vocabulary_changes(connection)
    load_vocabulary(
        connection,
        download(
            "new",
            CONCEPT=[
                concept_line(1, "Unchanged"),
                concept_line(2, "Oedema"),
                concept_line(4, "Withdrawn", standard_concept="", invalid_reason="U"),
                concept_line(5, "Once standard", standard_concept=""),
                concept_line(6, "Not yet standard"),
                concept_line(7, "Moved", domain_id="Observation"),
                concept_line(8, "Source", standard_concept=""),
                concept_line(9, "Invalid once"),
                concept_line(10, "Renamed", domain_id="Observation"),
                concept_line(11, "New"),
            ],
            CONCEPT_RELATIONSHIP=[
                link(1, 1),
                link(8, 2),
                link(4, 2, "Concept replaced by"),
                link(5, 1),
                link(5, 2),
            ],
        ),
        allow_shrink=True,
    )
    changes = list(vocabulary_changes(connection))
    assert [(c.concept_id, c.change, c.replacement_ids, c.replacement_names) for c in changes] == [
        (2, "renamed", None, None),
        (3, "withdrawn", None, None),
        (4, "withdrawn", "2", "Oedema"),
        (5, "no longer standard", "1; 2", "Unchanged; Oedema"),
        (6, "became standard", None, None),
        (7, "domain changed", None, None),
        (8, "remapped", "2", "Oedema"),
        (9, "valid again", None, None),
        (10, "renamed", None, None),
        (10, "domain changed", None, None),
        (11, "new", None, None),
    ]
    by_id = {change.concept_id: change for change in changes}
    assert (by_id[2].old_name, by_id[2].new_name) == ("Dropsy", "Oedema")
    assert (by_id[3].old_name, by_id[3].new_name, by_id[3].concept_code) == ("Removed", None, "C3")
    assert (by_id[7].old_domain_id, by_id[7].new_domain_id) == ("Condition", "Observation")
    assert by_id[8].old_replacement_ids == "1; 2"
    assert (by_id[11].old_name, by_id[11].new_name) == (None, "New")
