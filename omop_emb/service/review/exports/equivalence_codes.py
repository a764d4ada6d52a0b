"""Equivalence codes: what SSSOM and FHIR call the relation of a term to its concept.

Usagi's WIDER says that the concept has more information, which makes its meaning narrower. SKOS and FHIR R4
speak of the meaning of the concept, FHIR R5 of that of the source.
"""

from __future__ import annotations

from typing import NamedTuple

from omop_emb.service.review.decision_records import Equivalence


class Relation(NamedTuple):
    """A relation in three standards.

    Attributes:
        skos: a predicate, subject the term and object the concept; broadMatch: the concept is broader.
        r4: FHIR R4's ConceptMapEquivalence; wider: the concept is wider in meaning.
        r5: FHIR R5's ConceptMapRelationship.
    """

    skos: str
    r4: str
    r5: str


_RELATIONS = {
    Equivalence.EQUAL: Relation("skos:exactMatch", "equal", "equivalent"),
    Equivalence.EQUIVALENT: Relation("skos:exactMatch", "equivalent", "equivalent"),
    # The concept says more than the term: its meaning is narrower.
    Equivalence.WIDER: Relation("skos:narrowMatch", "narrower", "source-is-broader-than-target"),
    # The concept says less than the term: its meaning is broader.
    Equivalence.NARROWER: Relation("skos:broadMatch", "wider", "source-is-narrower-than-target"),
    Equivalence.INEXACT: Relation("skos:closeMatch", "inexact", "related-to"),
    # Approved though no concept fits: what remains is that they have to do with each other.
    Equivalence.UNMATCHED: Relation("skos:relatedMatch", "relatedto", "related-to"),
    # Approved as a mapping, and not compared: the relation above all of SKOS's.
    Equivalence.UNREVIEWED: Relation("skos:mappingRelation", "relatedto", "related-to"),
}


def relation_of(equivalence: Equivalence) -> Relation:
    """The relation that a reviewer chose."""
    return _RELATIONS[equivalence]
