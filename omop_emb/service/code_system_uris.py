"""Code system URIs: what FHIR calls OMOP's concept ids, and the vocabularies that OMOP took them from."""

from __future__ import annotations

from urllib.parse import quote, unquote

OMOP = "https://fhir-terminology.ohdsi.org"
"""The code system of OMOP's concept ids, as HL7's guide to OMOP names it."""
_FALLBACK = f"{OMOP}/CodeSystem/"  # for vocabularies without a URI of their own

# HL7's registry of code systems (terminology.hl7.org), and "URIs" of FHIR's page on code systems.
_URIS = {
    "ATC": "http://www.whocc.no/atc",
    "CPT4": "http://www.ama-assn.org/go/cpt",
    "CVX": "http://hl7.org/fhir/sid/cvx",
    "HCPCS": "http://terminology.hl7.org/CodeSystem/HCPCS-all-codes",
    "ICD10": "http://hl7.org/fhir/sid/icd-10",
    "ICD10CM": "http://hl7.org/fhir/sid/icd-10-cm",
    "ICD10GM": "http://fhir.de/CodeSystem/bfarm/icd-10-gm",
    "ICD10PCS": "http://www.cms.gov/Medicare/Coding/ICD10",
    "ICD9CM": "http://hl7.org/fhir/sid/icd-9-cm",
    "ICD9Proc": "http://hl7.org/fhir/sid/icd-9-proc",
    "ICDO3": "http://terminology.hl7.org/CodeSystem/icd-o-3",
    "LOINC": "http://loinc.org",
    "NDC": "http://hl7.org/fhir/sid/ndc",
    "NUCC": "http://nucc.org/provider-taxonomy",
    "OPS": "http://fhir.de/CodeSystem/bfarm/ops",
    "RxNorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "SNOMED": "http://snomed.info/sct",
    "UCUM": "http://unitsofmeasure.org",
}
_VOCABULARIES = {uri: vocabulary for vocabulary, uri in _URIS.items()}


def system_uri(vocabulary_id: str) -> str:
    """The URI of a vocabulary's codes."""
    return _URIS.get(vocabulary_id) or _FALLBACK + quote(vocabulary_id, safe="")


def vocabulary_of(uri: str) -> str | None:
    """The vocabulary whose codes have a URI, None for a URI that is not from system_uri()."""
    vocabulary = _VOCABULARIES.get(uri)
    if vocabulary is None and uri.startswith(_FALLBACK):
        return unquote(uri.removeprefix(_FALLBACK))
    return vocabulary
