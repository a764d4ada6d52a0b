"""ConceptMap export: R4 and R5 that a FHIR model library reads, with each relation the right way round."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from omop_emb.database.engine import database_engine, driver_connection, session_scope
from omop_emb.errors import InputError
from omop_emb.mapping.records import SourceTerm
from omop_emb.service.review.decision_records import NewDecision, ReviewState, Target, Verdict
from omop_emb.service.review.decision_store import decide
from omop_emb.service.review.exports.concept_map_export import ConceptMapExport
from omop_emb.service.review.exports.export_format import ExportReport
from omop_emb.service.review.exports.export_registry import parse_options
from tests.conftest import NewDatabase, as_url
from tests.postgres.service.review.all_states import (
    DISORDER,
    HUNDRED,
    HYPERTENSION,
    DecidedReview,
    begin_review,
    decided_review,
)

OMOP = "https://fhir-terminology.ohdsi.org"
SOURCE = "https://north.example.org/codes"
R4, R5 = ConceptMapExport("R4"), ConceptMapExport("R5")


@pytest.fixture(scope="module")
def review(
    server_conninfo: str,
    migrated_template: str,
    new_database: NewDatabase,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DecidedReview]:
    with new_database(migrated_template) as name:
        engine = database_engine(as_url(server_conninfo, dbname=name))
        yield decided_review(engine, tmp_path_factory.mktemp("vocabulary"))
        engine.dispose()


def export(
    which: ConceptMapExport, review: DecidedReview, project_id: int | None = None, **options: str
) -> tuple[dict[str, Any], ExportReport]:
    out = io.BytesIO()
    chosen = parse_options(which, {"source": SOURCE, **options})
    report = which.write(review.engine, project_id or review.project_id, chosen, out)
    resource: dict[str, Any] = json.loads(out.getvalue())
    check(which, resource)
    return resource, report


def check(which: ConceptMapExport, resource: dict[str, Any]) -> None:
    """Read it with fhir.resources, and check the invariants that this does not."""
    # R4B is R4 but for what a map may be about.
    module = "fhir.resources.R4B.conceptmap" if which is R4 else "fhir.resources.conceptmap"
    import_module(module).ConceptMap.model_validate(resource)
    for group in resource.get("group", []):
        assert group["element"]
        for element in group["element"]:
            assert element.get("noMap") != bool(element.get("target"))
            for target in element.get("target", []):
                relation = target.get("equivalence") or target["relationship"]
                wants_comment = ("narrower", "inexact", "source-is-broader-than-target", "not-related-to")
                assert relation not in wants_comment or target["comment"].strip()


def relations(resource: dict[str, Any], name: str) -> dict[tuple[str, str | None], str]:
    return {
        (element["display"], target.get("code")): target[name]
        for group in resource["group"]
        for element in group["element"]
        for target in element.get("target", [])
    }


def test_r4_says_which_side_is_wider(review: DecidedReview) -> None:
    assert relations(export(R4, review)[0], "equivalence") == {
        ("high blood pressure", "1"): "equivalent",
        # "stage 2 HTN" to Hypertension: the target is wider in meaning than the source.
        ('stage 2 "HTN"\tor more', "1"): "wider",
        ("HTN", "3"): "narrower",
        ("blood pressure of heart", "1"): "inexact",
        ("blood pressure of heart", "2"): "inexact",
        ("asdf", None): "unmatched",
        ("systolic 100 mmHg", "4"): "equal",
        ("essential hypertension", "1"): "relatedto",
    }


def test_r5_says_which_side_is_broader(review: DecidedReview) -> None:
    resource, _ = export(R5, review)
    assert relations(resource, "relationship") == {
        ("high blood pressure", "1"): "equivalent",
        # "stage 2 HTN" to Hypertension: the source is the narrower side.
        ('stage 2 "HTN"\tor more', "1"): "source-is-narrower-than-target",
        ("HTN", "3"): "source-is-broader-than-target",
        ("blood pressure of heart", "1"): "related-to",
        ("blood pressure of heart", "2"): "related-to",
        ("systolic 100 mmHg", "4"): "equivalent",
        ("essential hypertension", "1"): "related-to",
    }
    assert [
        element["code"] for group in resource["group"] for element in group["element"] if element.get("noMap")
    ] == ["X|1"]


@pytest.mark.parametrize("which", [R4, R5])
def test_groups_are_by_system_and_every_term_is_written_or_counted(
    review: DecidedReview, which: ConceptMapExport
) -> None:
    resource, report = export(which, review)
    assert [group["source"] for group in resource["group"]] == [SOURCE, "http://hl7.org/fhir/sid/icd-10-cm"]
    version = (
        {"target": OMOP, "targetVersion": "release-1"} if which is R4 else {"target": f"{OMOP}|release-1"}
    )
    assert all(group.items() >= version.items() for group in resource["group"])
    assert report.rows == 7
    assert {(one.reason, one.examples) for one in report.left_out} == {
        ("not reviewed", ("U1",)), ("flagged", ("F1",)), ("ignored", ("I1",)),
    }  # fmt: skip
    # A term without a code is known by its name.
    codes = [element["code"] for element in resource["group"][0]["element"]]
    assert codes == ["H1", "H/2", "H 3", "H4", "X|1", "systolic 100 mmHg"]


@pytest.mark.parametrize("which", [R4, R5])
def test_values_and_units_are_products_of_the_target(review: DecidedReview, which: ConceptMapExport) -> None:
    resource, _ = export(which, review)
    (products,) = [
        target["product"]
        for group in resource["group"]
        for element in group["element"]
        for target in element.get("target", [])
        if "product" in target
    ]
    if which is R4:
        assert products == [
            {"property": f"{OMOP}#Maps%20to%20value", "system": OMOP, "value": "5", "display": "100"},
            {
                "property": f"{OMOP}#Maps%20to%20unit",
                "system": OMOP,
                "value": "6",
                "display": "millimeter mercury column",
            },
        ]
    else:
        codings = [product["valueCoding"] for product in products]
        assert codings[0] == {"system": OMOP, "code": "5", "display": "100"}
        defined = {one["code"]: one["uri"] for one in resource["additionalAttribute"]}
        assert [defined[product["attribute"]] for product in products] == [
            f"{OMOP}#Maps%20to%20value", f"{OMOP}#Maps%20to%20unit",
        ]  # fmt: skip


@pytest.mark.parametrize("which", [R4, R5])
def test_targets_may_be_codes_of_their_vocabularies(review: DecidedReview, which: ConceptMapExport) -> None:
    resource, report = export(which, review, target="codes of vocabularies")
    targets = {
        (group.get("target", "").partition("|")[0], target["code"])
        for group in resource["group"]
        for element in group["element"]
        for target in element.get("target", [])
        if "code" in target
    }
    assert targets == {
        ("http://snomed.info/sct", "38341003"), ("http://snomed.info/sct", "56265001"),
        ("http://snomed.info/sct", "827068005"), ("http://loinc.org", "8480-6"),
    }  # fmt: skip
    assert sum(one.count for one in report.left_out) == 3


def test_the_map_says_whose_it_is_and_of_when(review: DecidedReview) -> None:
    resource, _ = export(R4, review, url="https://north.example.org/map", publisher="North", status="active")
    again, _ = export(R4, review, url="https://north.example.org/map", publisher="North", status="active")
    assert resource == again
    assert (resource["name"], resource["title"], resource["publisher"]) == (
        "AllStates",
        "all states",
        "North",
    )
    assert (resource["status"], resource["url"]) == ("active", "https://north.example.org/map")
    assert export(R5, review)[0]["url"].startswith("urn:uuid:")
    with pytest.raises(InputError, match="url takes a URI"):
        export(R4, review, url="map")
    with pytest.raises(InputError, match="status must be one of"):
        export(R4, review, status="final")


def test_terms_that_share_a_code_must_agree(review: DecidedReview) -> None:
    names = [
        ("A", "a"),
        ("A", "a again"),
        ("B", "b"),
        ("B", "b other"),
        ("C", "c"),
        ("C", "c open"),
        ("V", "v"),
    ]
    terms = tuple(SourceTerm(name=name, code=code) for code, name in names)
    targets = [HYPERTENSION, HYPERTENSION, HYPERTENSION, DISORDER, HYPERTENSION, None]
    with session_scope(review.engine) as session:
        connection = driver_connection(session)
        project_id = begin_review(connection, terms, "shared codes")
        verdicts = {
            position: (Target(target),)
            for position, target in enumerate(targets, start=1)
            if target is not None
        } | {7: (Target(HUNDRED, "MAPS_TO_VALUE"),)}
        for position, chosen in verdicts.items():
            verdict = Verdict(state=ReviewState.APPROVED, targets=chosen)
            new = NewDecision(position=position, version=0, verdict=verdict)
            decide(connection, project_id, "Ada", [new])
    resource, report = export(R5, review, project_id)
    assert [element["code"] for element in resource["group"][0]["element"]] == ["A"]
    assert {(one.reason, one.count) for one in report.left_out} == {
        ("its code has another name with another answer, or one that awaits review", 3),
        ("not reviewed", 1),
        ("a value without a concept that it belongs to", 1),
    }
    assert report.notes == ("terms with the code and the answer of another, in the map once: 1",)


def test_a_review_without_decisions_is_a_map_without_groups(review: DecidedReview) -> None:
    with session_scope(review.engine) as session:
        project_id = begin_review(driver_connection(session), (SourceTerm(name="x"),), "2 new")
    resource, report = export(R4, review, project_id)
    assert "group" not in resource
    assert (resource["name"], report.rows) == ("Review2New", 0)
