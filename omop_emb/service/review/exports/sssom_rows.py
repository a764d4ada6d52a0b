"""SSSOM rows: mappings of a review, one per target, by the names of SSSOM's slots."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from urllib.parse import quote

from omop_emb.mapping.records import Candidate, MappedTerm, Retriever, SourceTerm
from omop_emb.records import Concept
from omop_emb.service.review.decision_records import MAPPING_TYPES, ReviewState, Target
from omop_emb.service.review.exports.equivalence_codes import relation_of
from omop_emb.service.review.exports.exported_terms import ExportedTerm
from omop_emb.service.review.exports.source_identity import code_vocabulary, name_hash
from omop_emb.version import __version__

Row = dict[str, str]

# Where concepts of a vocabulary have IRIs that end with their codes: snomed.org, loinc.org and BioPortal.
VOCABULARY_PREFIXES = {
    "ATC": ("ATC", "http://purl.bioontology.org/ontology/ATC/"),
    "CPT4": ("CPT", "http://purl.bioontology.org/ontology/CPT/"),
    "HCPCS": ("HCPCS", "http://purl.bioontology.org/ontology/HCPCS/"),
    "ICD10": ("ICD10", "http://purl.bioontology.org/ontology/ICD10/"),
    "ICD10CM": ("ICD10CM", "http://purl.bioontology.org/ontology/ICD10CM/"),
    "ICD10PCS": ("ICD10PCS", "http://purl.bioontology.org/ontology/ICD10PCS/"),
    "ICD9CM": ("ICD9CM", "http://purl.bioontology.org/ontology/ICD9CM/"),
    "LOINC": ("LOINC", "http://loinc.org/rdf/"),
    "RxNorm": ("RXNORM", "http://purl.bioontology.org/ontology/RXNORM/"),
    "SNOMED": ("SNOMEDCT", "http://snomed.info/id/"),
}
NO_TERM_FOUND = "sssom:NoTermFound"
_MANUAL = "semapv:ManualMappingCuration"
_JUSTIFICATIONS = {
    frozenset({Retriever.EXACT}): "semapv:LexicalMatching",
    frozenset({Retriever.LEXICAL}): "semapv:LexicalSimilarityThresholdMatching",
    frozenset({Retriever.DENSE}): "semapv:SemanticSimilarityThresholdMatching",
    frozenset({Retriever.FURTHER}): "semapv:SemanticSimilarityThresholdMatching",
    frozenset({Retriever.DENSE, Retriever.FURTHER}): "semapv:SemanticSimilarityThresholdMatching",
}


@dataclass(frozen=True, kw_only=True)
class SssomNames:
    """How the rows of a file name what they are about.

    Attributes:
        prefix: of the site's codes.
        subject_source, object_source: where codes and concepts are from, as CURIEs.
        subject_source_version, object_source_version: "" where none is known.
        shared_codes: codes with several names; the name is part of their CURIEs.
    """

    prefix: str
    subject_source: str
    subject_source_version: str
    object_source: str
    object_source_version: str
    shared_codes: Collection[str]

    def subject_id(self, term: SourceTerm) -> str:
        """A term's CURIE: its code, "name-" and a hash if it has none, both where names share the code."""
        code, vocabulary = term.code.strip(), code_vocabulary(term)
        if not code:
            return f"{self.prefix}:name-{name_hash(term.name)}"
        local = quote(code, safe="")
        if vocabulary in VOCABULARY_PREFIXES:
            return f"{VOCABULARY_PREFIXES[vocabulary][0]}:{local}"
        if term.code in self.shared_codes:
            local += f"~{name_hash(term.name)}"
        return f"{self.prefix}:{local}"


def decided_rows(
    term: ExportedTerm, concepts: Mapping[int, Concept], agreeing: Sequence[str], names: SssomNames
) -> Iterator[Row]:
    """The rows of a term that a person approved, or found no match for; `agreeing`: who else says so."""
    provenance = {
        "mapping_justification": _MANUAL,
        "author_label": _listed([term.reviewer or ""]),
        "reviewer_label": _listed(agreeing),
        "mapping_date": term.decided_at.astimezone(UTC).date().isoformat() if term.decided_at else "",
        "comment": term.verdict.comment,
    }
    common = _subject(term, names) | provenance
    if term.state is ReviewState.NO_MATCH:
        yield common | {"predicate_id": "skos:exactMatch", "object_id": NO_TERM_FOUND}
    for target in term.verdict.targets:
        concept = concepts.get(target.concept_id)
        yield common | _relation(term, target) | _object(target.concept_id, concept)


def suggested_row(term: ExportedTerm, names: SssomNames) -> Row | None:
    """The row of what mapping suggests first; None without one, or where people decided otherwise."""
    mapped = term.mapped
    best = mapped.best if mapped is not None else None
    if mapped is None or best is None or not _may_be_right(term, best):
        return None
    return {
        **_subject(term, names),
        "predicate_id": "skos:mappingRelation",
        "predicate_label": "Maps to",
        "object_id": f"OMOP:{best.concept_id}",
        "object_label": best.concept_name,
        "object_category": best.domain_id,
        "mapping_justification": _justification(best),
        "mapping_tool": "omop-emb",
        "mapping_tool_version": mapped.provenance.version or __version__,
        "object_source_version": mapped.provenance.vocabulary or names.object_source_version,
        "confidence": "" if mapped.probability is None else f"{mapped.probability:.3f}",
        "comment": _comment(mapped, best),
    }


def _may_be_right(term: ExportedTerm, best: Candidate) -> bool:
    """Whether no person has decided against a candidate."""
    if term.state in (ReviewState.NO_MATCH, ReviewState.IGNORED):
        return False
    targets = {target.concept_id for target in term.verdict.targets if target.is_mapping}
    return term.state is not ReviewState.APPROVED or best.concept_id in targets


def _subject(term: ExportedTerm, names: SssomNames) -> Row:
    source = term.term
    vocabulary = code_vocabulary(source)
    is_own = vocabulary not in VOCABULARY_PREFIXES
    return {
        "subject_id": names.subject_id(source),
        "subject_label": source.name,
        "subject_category": source.domain or "",
        "subject_source": names.subject_source if is_own else "",
        "subject_source_version": names.subject_source_version if is_own else "",
        "object_source": names.object_source,
        "object_source_version": names.object_source_version,
        "mapping_tool": "omop-emb",
        "mapping_tool_version": __version__,
    }


def _relation(term: ExportedTerm, target: Target) -> Row:
    """SKOS's relation for a target; a value, unit … is only related to the term."""
    if not target.is_mapping:
        label = MAPPING_TYPES[target.mapping_type].capitalize()
        return {"predicate_id": "skos:relatedMatch", "predicate_label": label}
    predicate = relation_of(term.verdict.equivalence).skos
    label = "Maps to" if predicate == "skos:mappingRelation" else ""
    return {"predicate_id": predicate, "predicate_label": label}


def _object(concept_id: int, concept: Concept | None) -> Row:
    return {
        "object_id": f"OMOP:{concept_id}",
        "object_label": concept.concept_name if concept else "",
        "object_category": (concept.domain_id or "") if concept else "",
    }


def _justification(candidate: Candidate) -> str:
    """How a candidate was found; several ways together are a composite."""
    return _JUSTIFICATIONS.get(frozenset(candidate.retrievers), "semapv:CompositeMatching")


def _comment(mapped: MappedTerm, best: Candidate) -> str:
    said = [f"Suggested by ranker {mapped.provenance.ranker}", *best.flags]
    return "; ".join(said)


def _listed(names: Sequence[str]) -> str:
    """Values of a slot that may have several."""
    return "|".join(name.replace("\\", "\\\\").replace("|", "\\|") for name in names if name)
