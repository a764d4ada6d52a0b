"""Match parts: how a translation relates to its source, and what belongs beside it, in R4 and R5."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from omop_emb.mapping.records import MappedValue
from omop_emb.web.fhir.code_systems import OMOP
from omop_emb.web.fhir.fhir_version import FhirVersion
from omop_emb.web.fhir.parameters_resource import Part, concept_coding, part, parts

# What R5 calls a relationship, R4 an equivalence.
_EQUIVALENCES = {
    "equivalent": "equivalent",
    "source-is-narrower-than-target": "wider",
    "source-is-broader-than-target": "narrower",
    "related-to": "relatedto",
}


def relation(version: FhirVersion, relationship: str) -> list[Part]:
    """The relationship of R5, the equivalence of R4, or both."""
    found = []
    if version.has_equivalence:
        found.append(part("equivalence", valueCode=_EQUIVALENCES[relationship]))
    if version.has_relationship:
        found.append(part("relationship", valueCode=relationship))
    return found


def products(version: FhirVersion, values: Iterable[MappedValue]) -> list[Part]:
    """What belongs beside a match, such as the value of "family history of"."""
    found = []
    for value in values:
        attribute = f"{OMOP}#{quote(value.relationship_id)}"
        coding = concept_coding(OMOP, str(value.concept_id), value.concept_name)
        found.append(
            parts(
                "product",
                part("element" if version.is_r4 else "attribute", valueUri=attribute),
                part("concept" if version.is_r4 else "value", valueCoding=coding),
            )
        )
    return found
