"""ConceptMap elements: what FHIR's ConceptMap says of a term, in R4 and R5.

https://hl7.org/fhir/R4/conceptmap.html and https://hl7.org/fhir/R5/conceptmap.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from omop_emb.records import Concept
from omop_emb.service.code_system_uris import OMOP, system_uri
from omop_emb.service.review.decision_records import MAPPING_TYPES, Equivalence, ReviewState, Target
from omop_emb.service.review.exports.equivalence_codes import relation_of
from omop_emb.service.review.exports.exported_terms import ExportedTerm
from omop_emb.service.review.exports.source_identity import code_vocabulary

Version = Literal["R4", "R5"]
NO_TARGET = ""  # the group of terms without a match, where each target has a vocabulary of its own
# Invariant cmd-1 of both versions wants a comment with these.
_WITH_COMMENT = frozenset({"narrower", "inexact", "source-is-broader-than-target", "not-related-to"})


@dataclass(frozen=True, kw_only=True)
class MapElement:
    """What a term's code maps to in one system.

    Attributes:
        source, target: URIs of the systems; target NO_TARGET for none.
        content: ConceptMap.group.element.
    """

    source: str
    target: str
    content: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ElementWriter:
    """Writes terms as elements.

    Attributes:
        source: URI of the site's own codes.
        by_code: whether targets are codes of their vocabularies; else they are OMOP's concept ids.
    """

    version: Version
    source: str
    by_code: bool

    def key(self, term: ExportedTerm) -> tuple[str, str]:
        """The system and the code of a term; its name is the code if it has none."""
        vocabulary = code_vocabulary(term.term)
        system = self.source if vocabulary is None else system_uri(vocabulary)
        return system, " ".join((term.term.code or "").split()) or " ".join(term.term.name.split())

    def elements(self, term: ExportedTerm, concepts: Mapping[int, Concept]) -> Iterator[MapElement]:
        """The elements of a decided term, one for each system that it maps to.

        Raises:
            KeyError: a target's code is wanted, and the vocabulary does not have the concept.
        """
        system, code = self.key(term)
        display = {"display": term.term.name} if term.term.name.strip() else {}
        common = {"code": code, **display}
        if term.state is ReviewState.NO_MATCH:
            none = NO_TARGET if self.by_code else OMOP
            yield MapElement(source=system, target=none, content={**common, **self._no_match(term)})
            return
        by_system: dict[str, list[dict[str, Any]]] = {}
        beside = [self._product(one, concepts) for one in term.verdict.targets if not one.is_mapping]
        for target in term.verdict.targets:
            if target.is_mapping:
                named = self._coding(target.concept_id, concepts)
                related = self._relation(term, dict(named))
                product = {"product": beside} if beside else {}
                by_system.setdefault(named.pop("system"), []).append({**named, **related, **product})
        for target_system, targets in by_system.items():
            content = {**common, "target": targets}
            yield MapElement(source=system, target=target_system, content=content)

    def _no_match(self, term: ExportedTerm) -> dict[str, Any]:
        if self.version == "R5":
            return {"noMap": True}
        comment = {"comment": term.verdict.comment} if term.verdict.comment.strip() else {}
        return {"target": [{"equivalence": "unmatched", **comment}]}

    def _relation(self, term: ExportedTerm, named: Mapping[str, str]) -> dict[str, str]:
        relation = relation_of(term.verdict.equivalence)
        is_r4 = self.version == "R4"
        code = relation.r4 if is_r4 else relation.r5
        comment = term.verdict.comment
        if not comment.strip() and code in _WITH_COMMENT:
            comment = term.verdict.equivalence.words
        elif not comment.strip() and term.verdict.equivalence is Equivalence.UNREVIEWED:
            comment = "approved as a mapping; the meanings were not compared"
        said = {"comment": comment} if comment.strip() else {}
        return {"equivalence" if is_r4 else "relationship": code, **said}

    def _coding(self, concept_id: int, concepts: Mapping[int, Concept]) -> dict[str, str]:
        """System, code and display of a concept; the keys that Coding has."""
        concept = concepts.get(concept_id)
        if self.by_code:
            concept = concepts[concept_id]
            named = {"system": system_uri(concept.vocabulary_id or ""), "code": concept.concept_code or ""}
        else:
            named = {"system": OMOP, "code": str(concept_id)}
        return named | ({"display": concept.concept_name} if concept is not None else {})

    def _product(self, target: Target, concepts: Mapping[int, Concept]) -> dict[str, Any]:
        """A value, unit … that belongs beside the targets."""
        coding = self._coding(target.concept_id, concepts)
        if self.version == "R5":
            return {"attribute": attribute_code(target.mapping_type), "valueCoding": coding}
        product = {"property": attribute_uri(target.mapping_type), "system": coding["system"]}
        display = {"display": coding["display"]} if "display" in coding else {}
        return {**product, "value": coding["code"], **display}


def attribute_code(mapping_type: str) -> str:
    """What R5 calls a kind of value inside a map, such as "maps-to-unit"."""
    return MAPPING_TYPES[mapping_type].replace(" ", "-")


def attribute_uri(mapping_type: str) -> str:
    """The URI of a kind of value, as $translate names it: that of OMOP's relationship."""
    return f"{OMOP}#{quote(MAPPING_TYPES[mapping_type].capitalize())}"
