"""A vocabulary in which each case of a terminology server occurs once, and what reads its answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

OMOP = "https://fhir-terminology.ohdsi.org"
SNOMED, LOINC = "http://snomed.info/sct", "http://loinc.org"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"
VERSION = "20260830"

_CONCEPTS = """
0|No matching concept|Metadata|None|Undefined||No matching concept|
317009|Asthma|Condition|SNOMED|Disorder|S|195967001|
201820|Diabetes mellitus|Condition|SNOMED|Disorder|S|73211009|
201826|Type 2 diabetes mellitus|Condition|SNOMED|Disorder|S|44054006|
432867|Hyperlipidemia|Condition|SNOMED|Disorder|S|55822004|
4000001|Maturity onset diabetes|Condition|SNOMED|Disorder||9414007|U
4000002|Diabetes, obsolete|Condition|SNOMED|Disorder||1111|D
4167217|Family history of clinical finding|Observation|SNOMED|Context-dependent|S|416471007|
4132161|Oral|Route|SNOMED|Qualifier Value|S|26643006|
4180190|French language|Observation|SNOMED|Qualifier Value|S|297503003|
35206882|Type 2 diabetes mellitus without complications|Condition|ICD10CM|5-char billing code||E11.9|
45547622|Family history of asthma|Observation|ICD10CM|5-char billing code||Z82.5|
45600001|Type 2 diabetes mellitus with hyperlipidemia|Condition|ICD10CM|6-char billing code||E11.69|
45600002|Encounter for nothing|Observation|ICD10CM|5-char billing code||Z00.9|
1503297|metformin|Drug|RxNorm|Ingredient|S|6809|
1503298|metformin 500 MG Oral Tablet|Drug|RxNorm|Clinical Drug|S|860975|
21600712|DRUGS USED IN DIABETES|Drug|ATC|ATC 2nd|C|A10|
3004249|Systolic blood pressure|Measurement|LOINC|Lab Test|S|8480-6|
45880001|100% of 5_x|Condition/Device|SNOMED|Disorder|S|2222|
45880002||Condition|SNOMED|Disorder|S|3333|
500000001|Diabetes cohort 1|Condition|Cohort|Cohort|C|500000001|
2000000001|Asthme (local)|Condition|Haus Codes|Undefined||K 1/2|
"""
_RELATIONSHIPS = """
201826|Is a|201820
201820|Subsumes|201826
4000001|Concept replaced by|201826
35206882|Maps to|201826
201826|Mapped from|35206882
201826|Mapped from|45600001
201826|Maps to|201826
201826|Mapped from|201826
45547622|Maps to|4167217
45547622|Maps to value|317009
45600001|Maps to|201826
45600001|Maps to|432867
2000000001|Maps to|317009
"""
_SYNONYMS = """
201826|Non-insulin dependent diabetes mellitus|4180186
201826|Diabetes mellitus Typ 2 (Störung)|4182504
201826|Diabetes mellitus Typ 2|4182504
201826|Diabète de type 2|4180190
317009|Bronchial asthma|4180186
"""
_ANCESTORS = """
201820|201826|1|1
201820|201820|0|0
201826|201826|0|0
21600712|1503297|1|1
21600712|1503298|2|2
1503297|1503298|1|1
"""
_VOCABULARIES = """
ATC|WHO Anatomic Therapeutic Chemical Classification|ATC 2024|21600001
Cohort|Legacy OMOP HOI or DOI cohort||44819123
Haus Codes|Codes of the house|2026|2000000000
ICD10CM|International Classification of Diseases, Tenth Revision|ICD10CM FY2026|44819098
LOINC|Logical Observation Identifiers Names and Codes|LOINC 2.80|44819102
None|OMOP Standardized Vocabularies|v5.0 29-AUG-26|44819096
OMOP Extension|OMOP Extension (OHDSI)|OMOP Extension 20260830|32758
RxNorm|RxNorm|RxNorm 20260803|44819104
SNOMED|Systematic Nomenclature of Medicine|SNOMED 20260501|44819097
"""
_DOMAINS = """
Condition|Condition|19
Condition/Device|Condition/Device|235
Drug|Drug|13
Measurement|Measurement|21
Metadata|Metadata|7
Observation|Observation|27
Route|Route|33
"""
_CLASSES = """
Clinical Drug|Clinical Drug|44818999
Disorder|Disorder|44819010
Ingredient|Ingredient|44819009
"""
_DATES = "19700101|20991231"


def write_vocabulary(folder: Path) -> None:
    """Write the vocabulary as a download of Athena."""
    concepts = [line.rpartition("|") for line in _lines(_CONCEPTS)]
    tables = {
        "CONCEPT": (
            "concept_id concept_name domain_id vocabulary_id concept_class_id standard_concept concept_code "
            "valid_start_date valid_end_date invalid_reason",
            [f"{first}|{_DATES}|{reason}" for first, _, reason in concepts],
        ),
        "CONCEPT_RELATIONSHIP": (
            "concept_id_1 relationship_id concept_id_2 valid_start_date valid_end_date invalid_reason",
            [f"{line}|{_DATES}|" for line in _lines(_RELATIONSHIPS)],
        ),
        "CONCEPT_SYNONYM": ("concept_id concept_synonym_name language_concept_id", _lines(_SYNONYMS)),
        "CONCEPT_ANCESTOR": (
            "ancestor_concept_id descendant_concept_id min_levels_of_separation max_levels_of_separation",
            _lines(_ANCESTORS),
        ),
        "VOCABULARY": (
            "vocabulary_id vocabulary_name vocabulary_version vocabulary_concept_id",
            _lines(_VOCABULARIES),
        ),
        "DOMAIN": ("domain_id domain_name domain_concept_id", _lines(_DOMAINS)),
        "CONCEPT_CLASS": ("concept_class_id concept_class_name concept_class_concept_id", _lines(_CLASSES)),
    }
    for name, (header, lines) in tables.items():
        text = "\n".join([header.replace(" ", "\t"), *(line.replace("|", "\t") for line in lines)])
        (folder / f"{name}.csv").write_text(text + "\n", encoding="utf-8")


def _lines(table: str) -> list[str]:
    return [line for line in table.splitlines() if line]


def posted(**parameters: Any) -> dict[str, Any]:
    """A Parameters resource; a list stands for several parameters of a name, `_` for a hyphen."""
    entries = []
    for name, given in parameters.items():
        for value in given if isinstance(given, list) else [given]:
            entries.append({"name": name.replace("_", "-"), _kind(value): value})
    return {"resourceType": "Parameters", "parameter": entries}


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "valueBoolean"
    if isinstance(value, int):
        return "valueInteger"
    if isinstance(value, str):
        return "valueString"
    if "resourceType" in value:
        return "resource"
    return "valueCodeableConcept" if "coding" in value or "text" in value else "valueCoding"


def value_of(parameters: Mapping[str, Any], name: str) -> Any:
    """The single value of a parameter; None if there is none."""
    found = values_of(parameters, name)
    assert len(found) < 2, f"{name} {len(found)} times"
    return found[0] if found else None


def values_of(parameters: Mapping[str, Any], name: str) -> list[Any]:
    """The values of a parameter, or its parts as a Parameters resource."""
    entries: Sequence[Mapping[str, Any]] = parameters.get("parameter", ())
    return [_value(entry) for entry in entries if entry["name"] == name]


def _value(entry: Mapping[str, Any]) -> Any:
    if "part" in entry:
        return {"parameter": entry["part"]}
    (value,) = (value for key, value in entry.items() if key.startswith("value") or key == "resource")
    return value


def properties(parameters: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Code -> values of the properties that $lookup answers; a Coding is its code."""
    found: dict[str, list[Any]] = {}
    for entry in values_of(parameters, "property"):
        value = value_of(entry, "value")
        found.setdefault(value_of(entry, "code"), []).append(
            value["code"] if isinstance(value, dict) else value
        )
    return found


def matches(parameters: Mapping[str, Any]) -> list[tuple[str, str]]:
    """System and code of the matches of $translate."""
    codings = [value_of(match, "concept") for match in values_of(parameters, "match")]
    return [(coding["system"], coding["code"]) for coding in codings]


def value_set(
    *include: Mapping[str, Any], exclude: Iterable[Mapping[str, Any]] = (), **other: Any
) -> dict[str, Any]:
    """A ValueSet resource; an entry without a system is of OMOP's concepts."""
    compose: dict[str, Any] = {"include": [_of_omop(entry) for entry in include]}
    if exclude:
        compose["exclude"] = [_of_omop(entry) for entry in exclude]
    if "inactive" in other:
        compose["inactive"] = other.pop("inactive")
    return {"resourceType": "ValueSet", "status": "active", **other, "compose": compose}


def _of_omop(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    return entry if "system" in entry or set(entry) == {"valueSet"} else {"system": OMOP, **entry}


def filtered(*filters: str) -> dict[str, Any]:
    """An entry of a ValueSet by filters such as "domain = Drug"."""
    entries = [dict(zip(("property", "op", "value"), text.split(" ", 2), strict=True)) for text in filters]
    return {"filter": entries}


def listed(*codes: str, system: str = OMOP) -> dict[str, Any]:
    """An entry of a ValueSet by codes."""
    return {"system": system, "concept": [{"code": code} for code in codes]}
