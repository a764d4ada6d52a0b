"""A vocabulary that lacks over a fifth of what is loaded is refused, with figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from omop_emb.errors import ShrinkError
from omop_emb.vocabulary.loader import load_vocabulary
from omop_emb.vocabulary.releases import active_release

Download = Callable[..., Path]
ConceptLine = Callable[..., str]
Tables = dict[str, list[str]]


@pytest.fixture
def tables(concept_line: ConceptLine) -> Tables:
    """150 SNOMED and 30 UCUM concepts, 50 relationships, 50 synonyms."""
    return {
        "CONCEPT": [
            *(concept_line(number, f"Condition {number}") for number in range(150)),
            *(concept_line(n, f"Unit {n}", vocabulary_id="UCUM", domain_id="Unit") for n in range(150, 180)),
        ],
        "CONCEPT_RELATIONSHIP": [f"{n}\t{n}\tMaps to\t19700101\t20991231\t" for n in range(50)],
        "CONCEPT_SYNONYM": [f"{n}\tText {n}\t4180186" for n in range(50)],
        "VOCABULARY": ["None\tOMOP\tOMOP\tv5.0 30-AUG-24\t44819096"],
    }


def _changed(tables: Tables, change: str) -> Tables:
    concepts, links = tables["CONCEPT"], tables["CONCEPT_RELATIONSHIP"]
    changes: dict[str, Tables] = {
        "one concept": {"CONCEPT": concepts[:1]},
        "a truncated file": {"CONCEPT": concepts[:140]},
        "a vocabulary dropped": {"CONCEPT": concepts[:150]},
        "a vocabulary shrunk": {"CONCEPT": concepts[:170]},
        "no concept is standard": {"CONCEPT": [line.replace("\tS\t", "\t\t") for line in concepts]},
        "all concepts invalid": {"CONCEPT": [f"{line}D" for line in concepts]},
        "empty relationships": {"CONCEPT_RELATIONSHIP": []},
        "fewer relationships": {"CONCEPT_RELATIONSHIP": links[:39]},
        "no synonyms": {"CONCEPT_SYNONYM": []},
        "a few concepts less": {"CONCEPT": concepts[10:]},
        "concepts of another domain": {
            "CONCEPT": [line.replace("\tUnit\t", "\tMeasurement\t") for line in concepts]
        },
        "more of all": {"CONCEPT": [*concepts, concepts[0].replace("0", "999", 1)]},
        "a missing file": {},
    }
    changed = {**tables, **changes[change]}
    if change == "a missing file":
        del changed["CONCEPT_RELATIONSHIP"]
    return changed


REFUSED = [
    ("one concept", r"concepts 180 -> 1, standard concepts 180 -> 1, vocabulary SNOMED 150 -> 1"),
    ("a truncated file", r"concepts 180 -> 140, standard concepts 180 -> 140, vocabulary UCUM 30 -> 0"),
    ("a vocabulary dropped", r"vocabulary UCUM 30 -> 0"),
    ("a vocabulary shrunk", r"vocabulary UCUM 30 -> 20"),
    ("no concept is standard", r": standard concepts 180 -> 0"),
    ("all concepts invalid", r": standard concepts 180 -> 0"),
    ("empty relationships", r"rows of concept_relationship 50 -> 0"),
    ("fewer relationships", r"rows of concept_relationship 50 -> 39"),
    ("no synonyms", r"rows of concept_synonym 50 -> 0"),
    ("a missing file", r"rows of concept_relationship 50 -> 0"),
]


@pytest.mark.parametrize(("change", "figures"), REFUSED)
def test_a_smaller_vocabulary_is_refused_unless_it_may_shrink(
    connection: psycopg.Connection, download: Download, tables: Tables, change: str, figures: str
) -> None:
    load_vocabulary(connection, download("old", **tables))
    connection.commit()
    smaller = download("smaller", **_changed(tables, change))
    with pytest.raises(ShrinkError, match=figures) as refused:
        load_vocabulary(connection, smaller)
    connection.rollback()
    assert "\n" not in str(refused.value)
    assert "--allow-shrink" in str(refused.value)
    release = active_release(connection)
    assert release is not None
    assert release.concepts == 180
    loaded = load_vocabulary(connection, smaller, allow_shrink=True)
    assert loaded.losses


@pytest.mark.parametrize("change", ["a few concepts less", "more of all", "concepts of another domain"])
def test_an_ordinary_release_is_not_refused(
    connection: psycopg.Connection, download: Download, tables: Tables, change: str
) -> None:
    load_vocabulary(connection, download("old", **tables))
    loaded = load_vocabulary(connection, download("new", **_changed(tables, change)))
    said = [str(loss) for loss in loaded.losses]
    assert said == (["domain Unit 30 -> 0"] if change == "concepts of another domain" else [])


def test_a_larger_vocabulary_need_not_contain_all_of_the_sample(
    connection: psycopg.Connection, download: Download, tables: Tables
) -> None:
    smaller = {**tables, "CONCEPT": tables["CONCEPT"][100:]}
    load_vocabulary(connection, download("sample-vocabulary", **smaller))
    loaded = load_vocabulary(connection, download("new", CONCEPT=tables["CONCEPT"][:150]))
    assert [str(loss) for loss in loaded.losses if loss.is_refused] == []
    with pytest.raises(ShrinkError, match="concepts 150 -> 10"):
        load_vocabulary(connection, download("newer", CONCEPT=tables["CONCEPT"][:10]))
