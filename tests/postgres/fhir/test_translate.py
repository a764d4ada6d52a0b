"""$translate: from codes to standard concepts, from concepts to codes, and from texts to suggestions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy.pool import QueuePool

from omop_emb.errors import DatabaseError, SpaceNotFoundError
from omop_emb.mapping.records import (
    Candidate,
    Decision,
    MappedTerm,
    MappedValue,
    Retriever,
    SourceTerm,
    Variant,
)
from omop_emb.web.fhir.fhir_version import FhirVersion
from tests.postgres.fhir.conftest import FhirClient
from tests.postgres.fhir.fhir_vocabulary import (
    ICD10CM,
    LOINC,
    OMOP,
    RXNORM,
    SNOMED,
    VERSION,
    matches,
    posted,
    value_of,
    values_of,
)

URL = "ConceptMap/$translate"
HOUSE = f"{OMOP}/CodeSystem/Haus%20Codes"
OTHER = "http://example.org/codes"


def coding(code: str, system: str = OMOP) -> dict[str, str]:
    return {"system": system, "code": code}


@pytest.mark.parametrize(
    ("system", "code", "targets"),
    [
        (ICD10CM, "E11.9", ["201826"]),
        (ICD10CM, "E11.69", ["201826", "432867"]),
        (ICD10CM, "Z82.5", ["4167217"]),
        (SNOMED, "44054006", ["201826"]),
        (SNOMED, "9414007", ["201826"]),  # replaced
        (LOINC, "8480-6", ["3004249"]),
        (RXNORM, "6809", ["1503297"]),
        (HOUSE, "K 1/2", ["317009"]),
        (OMOP, "35206882", ["201826"]),
        (OMOP, "201826", ["201826"]),
        (OMOP, "4000001", ["201826"]),
    ],
)
@pytest.mark.parametrize("version", FhirVersion)
def test_a_code_is_translated_to_standard_concepts(
    fhir: FhirClient, version: FhirVersion, system: str, code: str, targets: list[str]
) -> None:
    client = fhir.at(version)
    names = [("sourceCode", "sourceSystem"), ("sourceCode", "system"), ("code", "system")]
    answers = [client.post(URL, posted(**{name: code, system_name: system})) for name, system_name in names]
    answers += [
        client.post(URL, posted(targetSystem=OMOP, sourceCoding=coding(code, system))),
        client.post(URL, posted(targetsystem=OMOP, coding=coding(code, system))),
        client.post(URL, posted(sourceCodeableConcept={"coding": [coding(code, system)]})),
        client.get(f"{URL}?{urlencode({'sourceCode': code, 'system': system, 'targetSystem': OMOP})}"),
    ]
    for answer in answers:
        assert value_of(answer, "result") is True
        assert matches(answer) == [(OMOP, target) for target in targets]


@pytest.mark.parametrize(
    ("code", "target", "codes"),
    [
        ("201826", ICD10CM, ["E11.9", "E11.69"]),
        ("201826", SNOMED, ["44054006"]),
        ("35206882", ICD10CM, ["E11.9"]),
        ("35206882", SNOMED, ["44054006"]),  # what it maps to
        ("4000001", SNOMED, ["9414007"]),  # itself, although it was replaced
        ("1503297", RXNORM, ["6809"]),
        ("21600712", "http://www.whocc.no/atc", ["A10"]),
    ],
)
def test_a_concept_is_translated_to_codes_of_a_vocabulary(
    fhir: FhirClient, code: str, target: str, codes: list[str]
) -> None:
    answer = fhir.post(URL, posted(sourceCode=code, system=OMOP, targetSystem=target))
    assert matches(answer) == [(target, one) for one in codes]
    assert value_of(answer, "result") is True


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sourceCode": "317009", "system": OMOP, "targetSystem": LOINC}, "No translations found"),
        ({"sourceCode": "Z00.9", "system": ICD10CM}, "No translations found"),
        ({"sourceCode": "1111", "system": SNOMED}, "No translations found"),
        ({"sourceCode": "21600712", "system": OMOP}, "No translations found"),
        ({"sourceCode": "0", "system": OMOP}, "No translations found"),
        ({"sourceCode": "E119", "system": ICD10CM}, "Unknown code 'E119'"),
        ({"sourceCode": "E11.9 ", "system": ICD10CM}, "Unknown code 'E11.9 '"),
        ({"sourceCode": "0201826", "system": OMOP}, "Unknown code '0201826'"),
        ({"sourceCode": "9" * 40, "system": OMOP}, "Unknown code '999"),
        ({"sourceCode": "500000001", "system": OMOP}, "Unknown code '500000001'"),
        ({"sourceCode": "E11.9", "system": ICD10CM, "targetSystem": LOINC}, "No translations found"),
        ({"sourceCode": "44054006", "system": SNOMED, "targetSystem": LOINC}, "No translations found"),
        ({"sourceCodeableConcept": {"coding": [coding("1", OTHER)]}}, "could not be found"),
    ],
)
def test_what_has_no_translation_says_why(fhir: FhirClient, parameters: dict[str, Any], message: str) -> None:
    answer = fhir.post(URL, posted(**parameters))
    assert value_of(answer, "result") is False
    assert message in value_of(answer, "message")
    assert matches(answer) == []


@pytest.mark.parametrize(
    ("version", "code", "relation"),
    [
        (FhirVersion.R5, "E11.9", {"relationship": "equivalent"}),
        (FhirVersion.R4, "E11.9", {"equivalence": "equivalent"}),
        (FhirVersion.BOTH, "E11.9", {"relationship": "equivalent", "equivalence": "equivalent"}),
        (FhirVersion.R5, "E11.69", {"relationship": "source-is-narrower-than-target"}),
        (FhirVersion.R4, "E11.69", {"equivalence": "wider"}),
        (FhirVersion.R5, "Z82.5", {"relationship": "source-is-narrower-than-target"}),
    ],
)
def test_a_match_says_how_it_relates_in_the_words_of_its_version(
    fhir: FhirClient, version: FhirVersion, code: str, relation: dict[str, str]
) -> None:
    answer = fhir.at(version).post(URL, posted(sourceCode=code, system=ICD10CM))
    for match in values_of(answer, "match"):
        found = {name: value_of(match, name) for name in ("relationship", "equivalence")}
        assert {name: value for name, value in found.items() if value} == relation


@pytest.mark.parametrize("version", FhirVersion)
def test_a_value_beside_a_mapping_is_a_product_of_the_match(fhir: FhirClient, version: FhirVersion) -> None:
    answer = fhir.at(version).post(URL, posted(sourceCode="Z82.5", system=ICD10CM))
    (match,) = values_of(answer, "match")
    product = value_of(match, "product")
    names = ("element", "concept") if version.is_r4 else ("attribute", "value")
    assert value_of(product, names[0]) == f"{OMOP}#Maps%20to%20value"
    assert value_of(product, names[1]) == {"system": OMOP, "code": "317009", "display": "Asthma"}


@pytest.mark.parametrize(
    ("system", "code", "target", "found"),
    [
        (ICD10CM, "E11.9", SNOMED, [("44054006", "equivalent")]),
        (
            ICD10CM,
            "E11.69",
            SNOMED,
            [("44054006", "source-is-narrower-than-target"), ("55822004", "source-is-narrower-than-target")],
        ),
        (SNOMED, "44054006", ICD10CM, [("E11.9", "related-to"), ("E11.69", "related-to")]),
        (SNOMED, "44054006", SNOMED, [("44054006", "equivalent")]),
    ],
)
def test_a_code_is_translated_to_another_vocabulary(
    fhir: FhirClient, system: str, code: str, target: str, found: list[tuple[str, str]]
) -> None:
    answer = fhir.at(FhirVersion.R5).post(URL, posted(sourceCode=code, system=system, targetSystem=target))
    relations = [value_of(match, "relationship") for match in values_of(answer, "match")]
    assert [(code, relation) for (_, code), relation in zip(matches(answer), relations, strict=True)] == found


def test_an_answer_names_the_systems_and_maps_that_it_used(fhir: FhirClient) -> None:
    answer = fhir.post(URL, posted(sourceCode="E11.9", system=ICD10CM))
    assert values_of(answer, "used-system") == [f"{ICD10CM}|ICD10CM FY2026"]
    assert values_of(answer, "used-conceptmap") == [f"{OMOP}/ConceptMap/from-44819098|{VERSION}"]
    answer = fhir.post(URL, posted(sourceCode="201826", system=OMOP, targetSystem=ICD10CM))
    assert values_of(answer, "used-conceptmap") == [f"{OMOP}/ConceptMap/to-44819098|{VERSION}"]


def test_several_codings_of_a_concept_give_the_matches_of_all(fhir: FhirClient) -> None:
    codings = [coding("1", OTHER), coding("E11.9", ICD10CM), coding("44054006", SNOMED), coding("A10", OTHER)]
    answer = fhir.post(URL, posted(sourceCodeableConcept={"coding": codings, "text": "T2DM"}))
    assert value_of(answer, "result") is True
    assert {code for _, code in matches(answer)} == {"201826"}


@pytest.mark.parametrize(
    ("parameters", "targets"),
    [
        ({"url": f"{OMOP}/ConceptMap/from-44819098"}, ["201826"]),
        ({"url": f"{OMOP}/ConceptMap/from-ICD10CM"}, ["201826"]),
        ({"url": f"{OMOP}/ConceptMap/from-ICD10CM|{VERSION}"}, ["201826"]),
        ({"url": f"{OMOP}/ConceptMap/from-ICD10CM", "targetSystem": OMOP}, ["201826"]),
        ({"targetScope": f"{OMOP}?fhir_vs"}, ["201826"]),
        ({"target": f"{OMOP}?fhir_vs"}, ["201826"]),
        ({"targetSystem": f"{OMOP}|{VERSION}"}, ["201826"]),
    ],
)
def test_a_map_or_a_scope_names_the_target(
    fhir: FhirClient, parameters: dict[str, str], targets: list[str]
) -> None:
    answer = fhir.post(URL, posted(sourceCode="E11.9", system=ICD10CM, **parameters))
    assert [code for _, code in matches(answer)] == targets


def test_a_map_translates_by_its_id(fhir: FhirClient) -> None:
    query = urlencode({"sourceCode": "201826", "system": OMOP})
    assert matches(fhir.get(f"ConceptMap/to-SNOMED/$translate?{query}")) == [(SNOMED, "44054006")]


@pytest.mark.parametrize(
    ("parameters", "status", "kind"),
    [
        ({}, 400, "required"),
        ({"sourceCode": "E11.9"}, 400, "required"),
        ({"sourceCode": "E11.9", "system": ICD10CM, "text": "diabetes"}, 400, "invalid"),
        ({"sourceCodeableConcept": {"coding": []}}, 400, "invalid"),
        ({"text": "  "}, 400, "invalid"),
        ({"text": "x" * 5_000}, 400, "invalid"),
        ({"text": "diabetes", "targetSystem": SNOMED}, 400, "not-supported"),
        ({"sourceCode": "1", "system": OTHER}, 404, "not-found"),
        ({"sourceCode": "1", "system": OMOP, "targetSystem": OTHER}, 404, "not-found"),
        ({"sourceCode": "201826", "system": OMOP, "version": "1999"}, 404, "not-found"),
        ({"sourceCode": "1", "system": OMOP, "url": "http://example.org/map"}, 404, "not-found"),
        ({"sourceCode": "1", "system": OMOP, "url": f"{OMOP}/ConceptMap/to-X"}, 404, "not-found"),
        ({"sourceCode": "1", "system": OMOP, "url": f"{OMOP}/ConceptMap/from-SNOMED"}, 400, "invalid"),
        (
            {"sourceCode": "1", "system": OMOP, "url": f"{OMOP}/ConceptMap/to-LOINC", "targetSystem": SNOMED},
            400,
            "invalid",
        ),
        ({"targetCode": "201826", "system": OMOP}, 400, "not-supported"),
        ({"sourceCode": "201826", "system": OMOP, "reverse": True}, 400, "not-supported"),
        (
            {"sourceCode": "1", "system": OMOP, "target": "http://example.org/ValueSet/x"},
            400,
            "not-supported",
        ),
        (
            {"sourceCode": "1", "system": OMOP, "conceptMap": {"resourceType": "ConceptMap"}},
            400,
            "not-supported",
        ),
    ],
)
def test_a_request_that_cannot_be_answered_is_an_outcome(
    fhir: FhirClient, parameters: dict[str, Any], status: int, kind: str
) -> None:
    assert fhir.issue("POST", URL, posted(**parameters))[:2] == (status, kind)


def candidate(rank: int, concept_id: int, name: str, **other: Any) -> Candidate:
    return Candidate(
        rank=rank,
        concept_id=concept_id,
        concept_name=name,
        domain_id="Condition",
        vocabulary_id="SNOMED",
        concept_class_id="Disorder",
        standard_concept="S",
        concept_code=str(concept_id),
        score=1.0 / rank,
        probability=other.pop("probability", None),
        variant=Variant("text", "as written"),
        matched_text=name,
        matched_kind="name",
        retrievers={Retriever.EXACT: 1.0},
        **other,
    )


def mapping(decision: Decision, *candidates: Candidate) -> Any:
    """What maps any text to some candidates."""

    def map_terms(terms: Sequence[SourceTerm]) -> list[MappedTerm]:
        return [
            MappedTerm(
                term=term,
                candidates=candidates,
                decision=decision,
                reason="for this test",
                probability=candidates[0].probability if candidates else None,
                priority=0.0,
                provenance=None,  # type: ignore[arg-type] # not read
            )
            for term in terms
        ]

    return map_terms


DIABETES = candidate(1, 201826, "Type 2 diabetes mellitus", probability=0.97)
ASTHMA = candidate(2, 317009, "Asthma", flags=("laterality: left, not right",))


def suggested(fhir: FhirClient, map_terms: Any, version: FhirVersion, **parameters: Any) -> Mapping[str, Any]:
    client = FhirClient(replace(fhir.server, map_terms=map_terms, version=version))
    return client.post(URL, posted(**parameters))


@pytest.mark.parametrize("version", FhirVersion)
@pytest.mark.parametrize(
    "parameters",
    [
        {"text": "T2DM"},
        {"sourceCodeableConcept": {"text": "T2DM"}},
        {"codeableConcept": {"text": "T2DM"}},
        {"sourceCodeableConcept": {"text": "T2DM", "coding": [coding("17", OTHER)]}},
        {"sourceCodeableConcept": {"text": "T2DM", "coding": [coding("Z00.9", ICD10CM)]}},
        {"sourceCodeableConcept": {"text": "T2DM", "coding": [{"code": "17"}]}},
    ],
)
@pytest.mark.parametrize(
    ("decision", "result", "codes"),
    [(Decision.ACCEPT, True, ["201826"]), (Decision.REVIEW, False, ["201826", "317009"])],
)
def test_a_text_gives_suggestions_that_are_marked_and_never_equivalent(
    fhir: FhirClient,
    version: FhirVersion,
    parameters: dict[str, Any],
    decision: Decision,
    result: bool,
    codes: list[str],
) -> None:
    answer = suggested(fhir, mapping(decision, DIABETES, ASTHMA), version, **parameters)
    assert value_of(answer, "result") is result
    assert [code for _, code in matches(answer)] == codes
    first = values_of(answer, "match")[0]
    assert value_of(first, "probability") == 0.97
    for entry, match in zip(
        [entry for entry in answer["parameter"] if entry["name"] == "match"],
        values_of(answer, "match"),
        strict=True,
    ):
        assert entry["extension"] == [{"url": "urn:omop-emb:suggestion-by-text", "valueBoolean": True}]
        assert "by text" in value_of(match, "comment")
        assert value_of(match, "relationship") in ({"related-to"} if version.has_relationship else {None})
        assert value_of(match, "equivalence") in ({"relatedto"} if version.has_equivalence else {None})
    assert "suggestion" in value_of(answer, "message").lower()


def test_a_suggestion_says_what_differs_and_what_belongs_beside_it(fhir: FhirClient) -> None:
    allergy = replace(DIABETES, mapped_values=(MappedValue("Maps to value", 317009, "Asthma"),))
    answer = suggested(fhir, mapping(Decision.REVIEW, allergy, ASTHMA), FhirVersion.R5, text="x")
    first, second = values_of(answer, "match")
    assert value_of(value_of(first, "product"), "value")["code"] == "317009"
    assert value_of(second, "difference") == "laterality: left, not right"
    assert value_of(second, "probability") is None


def test_a_text_is_mapped_when_the_vocabulary_is_closed(fhir: FhirClient) -> None:
    open_connections = []

    def counts(terms: Sequence[SourceTerm]) -> list[MappedTerm]:
        pool = fhir.server.engine.pool
        assert isinstance(pool, QueuePool)
        open_connections.append(pool.checkedout())
        return list(mapping(Decision.REVIEW, DIABETES)(terms))

    suggested(fhir, counts, FhirVersion.R5, text="T2DM")
    assert open_connections == [0]


def test_a_text_without_candidates_has_no_translation(fhir: FhirClient) -> None:
    answer = suggested(fhir, mapping(Decision.NO_MATCH), FhirVersion.R5, text="qwertz")
    assert value_of(answer, "result") is False
    assert value_of(answer, "message") == "No translations found: for this test"


def test_a_code_with_a_translation_needs_no_text(fhir: FhirClient) -> None:
    concept = {"coding": [coding("E11.9", ICD10CM)], "text": "asthma"}
    answer = fhir.post(URL, posted(sourceCodeableConcept=concept))
    assert matches(answer) == [(OMOP, "201826")]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SpaceNotFoundError("nothing is embedded here yet: run omop-emb index build"), "index build"),
        (DatabaseError("cannot connect to db.example.org as alice"), "ask again"),
    ],
)
def test_a_mapping_that_is_not_ready_is_503(fhir: FhirClient, error: Exception, text: str) -> None:
    def fails(_: Sequence[SourceTerm]) -> list[MappedTerm]:
        raise error

    client = FhirClient(replace(fhir.server, map_terms=fails))
    status, kind, found = client.issue("POST", URL, posted(text="asthma"))
    assert (status, kind) == (503, "transient")
    assert text in found
    assert "alice" not in found
