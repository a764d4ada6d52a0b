"""Targets follow Maps to and replacements only; values, units and the like stand beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from omop_emb.mapping.engine import Engine
from omop_emb.mapping.ranking.linear import default_ranker
from omop_emb.mapping.records import Decision, MappedTerm, SourceTerm
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.concept_attributes import concept_attributes
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.lexicon import build_lexicon
from omop_emb.mapping.settings import Settings
from tests.unit.mapping.files.sample_results import PROVENANCE

# id, name, vocabulary, code, standard, invalid
CONCEPTS = [
    (1, "Asthma", "SNOMED", "195967001", "S", ""),
    (2, "Family history of clinical finding", "SNOMED", "416471007", "S", ""),
    (3, "Allergy to substance", "SNOMED", "419199007", "S", ""),
    (4, "Penicillin", "RxNorm", "7980", "S", ""),
    (5, "Lead level", "LOINC", "5671-3", "S", ""),
    (6, "Positive", "SNOMED", "10828004", "S", ""),
    (7, "milligram", "UCUM", "mg", "S", ""),
    (8, "Less than", "SNOMED", "276139006", "S", ""),
    (9, "History of event", "SNOMED", "392521001", "S", ""),
    (10, "Lab test result", "OMOP", "OMOP1", "S", ""),
    (11, "Five", "LOINC", "LA15", "S", ""),
    (101, "Family history of asthma", "ICD10CM", "Z82.5", "", ""),
    (102, "Allergy to penicillin", "SNOMED", "91936005", "", ""),
    (103, "Allergy to penicillin, old", "SNOMED", "old", "", "U"),
    (104, "Lead < 5 mg positive", "LOCAL", "L1", "", ""),
    (105, "Asthma, old", "SNOMED", "A1", "", "U"),
    (106, "History of asthma", "ICD10CM", "Z87.09", "", ""),
    (107, "Asthma and penicillin", "ICD10CM", "X1", "", ""),
    (108, "Only a value", "ICD10CM", "X2", "", ""),
    (109, "Chicken", "ICD10CM", "X3", "", "U"),
    (110, "Egg", "ICD10CM", "X4", "", "U"),
    (111, "Asthma class", "ATC", "R03", "C", ""),
    (112, "Value that nothing replaces", "SNOMED", "gone", "", "D"),
    (113, "History of something gone", "ICD10CM", "X5", "", ""),
    (114, "Maybe asthma", "SNOMED", "X6", "", "U"),
    (115, "Dead end first", "SNOMED", "X7", "", "U"),
    (116, "Twin", "SNOMED", "X8", "", "U"),
    (117, "Mapped and replaced", "SNOMED", "X9", "", "U"),
]
RELATIONSHIPS = [
    (101, 2, "Maps to"), (101, 1, "Maps to value"),
    (102, 3, "Maps to"), (102, 4, "Maps to value"),
    (103, 102, "Concept replaced by"),
    (104, 5, "Maps to"), (104, 6, "Maps to value"), (104, 7, "Maps to unit"), (104, 8, "Maps to operator"),
    (104, 11, "Maps to number"), (104, 10, "Maps to type"), (104, 1, "Maps to qualifier"), (104, 4, "Is a"),
    (105, 1, "Concept replaced by"), (1, 105, "Concept replaces"),
    (106, 9, "Maps to"), (106, 105, "Maps to value"),
    (107, 1, "Maps to"), (107, 4, "Maps to"), (107, 6, "Maps to value"),
    (108, 1, "Maps to value"),
    (109, 110, "Concept replaced by"), (110, 109, "Concept replaced by"), (109, 109, "Maps to"),
    (111, 1, "Subsumes"),
    (113, 9, "Maps to"), (113, 112, "Maps to value"),
    (114, 1, "Concept poss_eq to"), (114, 2, "Concept was_a to"), (114, 3, "Concept alt_to to"),
    (115, 112, "Maps to"), (115, 1, "Concept replaced by"),
    (116, 1, "Concept same_as to"),
    (117, 1, "Maps to"), (117, 3, "Concept replaced by"), (117, 4, "Concept same_as to"),
    (2, 2, "Maps to"), (1, 1, "Maps to"),
]  # fmt: skip
# Concept -> its targets, and what belongs beside a mapping to them.
TARGETS = [
    ("family history", 101, [2], {"value": [1]}),
    ("allergy", 102, [3], {"value": [4]}),
    ("replaced by one with a value", 103, [3], {"value": [4]}),
    (
        "laboratory result",
        104,
        [5],
        {"value": [6], "unit": [7], "operator": [8], "number": [11], "type": [10]},
    ),
    ("replaced", 105, [1], {}),
    ("the value was replaced", 106, [9], {"value": [1]}),
    ("two targets, one value", 107, [1, 4], {"value": [6]}),
    ("a value alone", 108, [], {}),
    ("a cycle", 109, [], {}),
    ("a classification", 111, [], {}),
    ("the value leads nowhere", 113, [9], {"value": [112]}),
    ("possible and broader ones", 114, [], {}),
    ("Maps to leads nowhere", 115, [1], {}),
    ("a duplicate", 116, [1], {}),
    ("Maps to before replacements", 117, [1], {}),
    ("standard", 1, [1], {}),
    ("unknown", 999, [], {}),
]


@pytest.fixture(scope="module")
def lexical() -> LexicalIndex:
    names = [
        "concept_id",
        "concept_name",
        "vocabulary_id",
        "concept_code",
        "standard_concept",
        "invalid_reason",
    ]
    concept = pd.DataFrame(CONCEPTS, columns=names).assign(
        domain_id="Observation", concept_class_id="Finding"
    )
    synonym = pd.DataFrame({"concept_id": [], "concept_synonym_name": []})
    links = pd.DataFrame(RELATIONSHIPS, columns=["concept_id_1", "concept_id_2", "relationship_id"])
    return LexicalIndex(build_lexicon(concept, synonym, links))


@pytest.mark.parametrize(
    ("_case", "concept_id", "targets", "values"), TARGETS, ids=[row[0] for row in TARGETS]
)
def test_a_concept_leads_to_its_targets_and_their_values(
    lexical: LexicalIndex, _case: str, concept_id: int, targets: list[int], values: dict[str, list[int]]
) -> None:
    lexicon = lexical.lexicon
    rows = [row for _, row in lexicon.standard_targets(concept_id)]
    assert lexicon.concept_id[rows].tolist() == targets
    beside: dict[str, list[int]] = {}
    for value in lexicon.values.get(concept_id):
        beside.setdefault(value.relationship_id.removeprefix("Maps to "), []).append(value.concept_id)
    assert beside == values


def test_no_concept_has_the_name_of_a_term_whose_value_it_is(lexical: LexicalIndex) -> None:
    lexicon = lexical.lexicon
    texts = [lexicon.texts[text] for text in lexicon.text_rows(int(lexicon.rows([1])[0]))]
    assert sorted(texts) == [
        "Asthma", "Asthma and penicillin", "Asthma, old", "Bronchial asthma", "Dead end first",
        "Mapped and replaced", "Twin",
    ]  # fmt: skip


def map_term(lexical: LexicalIndex, term: SourceTerm, memory: MemoryIndex | None = None) -> MappedTerm:
    engine = Engine(
        lexical, concept_attributes(lexical), None, None, default_ranker(), calibrated=False, memory=memory
    )
    settings = Settings(accept_codes=True)
    return engine.finish(engine.begin([term], settings), settings, PROVENANCE)[0]


@pytest.mark.parametrize(
    ("vocabulary", "code", "targets", "values"),
    [
        ("ICD10CM", "Z82.5", (2,), [("Maps to value", 1)]),
        ("ICD10CM", "Z825", (2,), [("Maps to value", 1)]),
        ("ICD10CM", "X1", (1, 4), [("Maps to value", 6)]),
        ("SNOMED", "old", (3,), [("Maps to value", 4)]),
        ("SNOMED", "195967001", (1,), []),
    ],
)
def test_a_code_is_accepted_as_its_targets_with_the_value_beside_them(
    lexical: LexicalIndex, vocabulary: str, code: str, targets: tuple[int, ...], values: list[tuple[str, int]]
) -> None:
    mapped = map_term(lexical, SourceTerm(name="", code=code, source_vocabulary=vocabulary))
    assert (mapped.decision, mapped.targets) == (Decision.ACCEPT, targets)
    assert [(value.relationship_id, value.concept_id) for value in mapped.mapped_values] == values


def test_a_code_with_a_value_alone_maps_to_nothing(lexical: LexicalIndex) -> None:
    mapped = map_term(lexical, SourceTerm(name="", code="X2", source_vocabulary="ICD10CM"))
    assert (mapped.decision, mapped.targets) == (Decision.NO_MATCH, ())


def test_the_name_of_a_non_standard_concept_brings_its_value_along(lexical: LexicalIndex) -> None:
    mapped = map_term(lexical, SourceTerm(name="family history of ASTHMA"))
    assert mapped.targets == (2,)
    assert [value.concept_id for value in mapped.mapped_values] == [1]
    other = map_term(lexical, SourceTerm(name="family history of asthmatic"))
    assert [candidate.mapped_values for candidate in other.candidates if candidate.concept_id == 2] == [()]


def test_an_approved_concept_that_became_non_standard_brings_its_value_along(lexical: LexicalIndex) -> None:
    row = int(lexical.lexicon.rows([3])[0])
    memory = MemoryIndex(lexical, ["pen allergy"], np.array([row]), approved_ids=[102])
    best = map_term(lexical, SourceTerm(name="pen allergy"), memory).best
    assert best is not None
    assert (best.concept_id, best.matched_kind) == (3, "alias")
    assert [value.concept_id for value in best.mapped_values] == [4]
