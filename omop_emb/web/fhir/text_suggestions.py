"""Text suggestions: what the mapping finds for a text, marked as no translation of a code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from omop_emb.mapping.records import Decision, SourceTerm
from omop_emb.web.fhir.code_systems import OMOP, omop_system
from omop_emb.web.fhir.fhir_version import FhirVersion
from omop_emb.web.fhir.match_parts import products, relation
from omop_emb.web.fhir.operation import Later, MapTerms, Operation, Resource
from omop_emb.web.fhir.outcome import invalid
from omop_emb.web.fhir.parameters_resource import Part, parameters, part, parts

if TYPE_CHECKING:
    from omop_emb.mapping.records import Candidate, MappedTerm

_MOST_CHARACTERS = 2_000
_MOST_CANDIDATES = 10
_DECIMALS = 4  # of a probability
_SUGGESTION = "urn:omop-emb:suggestion-by-text"  # the extension that marks a match


def suggestions(operation: Operation, text: str, problems: Sequence[str] = ()) -> Later:
    """The concepts that a text may mean; result is true only if the mapping accepts one.

    problems: why the codes beside the text have no translation.
    """
    text = text.strip()
    if len(text) > _MOST_CHARACTERS:
        raise invalid(f"The text has {len(text):,} characters, and may have {_MOST_CHARACTERS:,}")
    used, version = omop_system(operation.terminology).canonical, operation.version

    def answer(map_terms: MapTerms) -> Resource:
        (mapped,) = map_terms([SourceTerm(name=text)])
        is_accepted = mapped.decision is Decision.ACCEPT
        candidates = mapped.candidates
        if is_accepted:
            candidates = tuple(one for one in candidates if one.concept_id in mapped.targets)
        return parameters(
            [
                part("result", valueBoolean=is_accepted),
                part("message", valueString="; ".join([*problems, _message(mapped, is_accepted)])),
                part("used-system", valueUri=used),
                *(_match(version, candidate, is_accepted) for candidate in candidates[:_MOST_CANDIDATES]),
            ]
        )

    return answer


def _message(mapped: MappedTerm, is_accepted: bool) -> str:
    if is_accepted:
        return f"A suggestion by text, which the mapping accepts: {mapped.reason}"
    if not mapped.candidates:
        return f"No translations found: {mapped.reason}"
    return f"No accepted translation; the matches are suggestions by text to be reviewed: {mapped.reason}"


def _match(version: FhirVersion, candidate: Candidate, is_accepted: bool) -> Part:
    coding = {"system": OMOP, "code": str(candidate.concept_id), "display": candidate.concept_name}
    state = "accepted by the mapping" if is_accepted else "to be reviewed by a person"
    comment = f"Suggestion {candidate.rank} by text, {state}; it matched the {candidate.matched_kind}"
    found = [
        part("concept", valueCoding=coding),
        part("comment", valueString=comment),
        *relation(version, "related-to"),  # a text is never equivalent to a concept
        *products(version, candidate.mapped_values),
    ]
    if candidate.probability is not None:
        found.append(part("probability", valueDecimal=round(candidate.probability, _DECIMALS)))
    if candidate.flags:
        found.append(part("difference", valueString="; ".join(candidate.flags)))
    return parts("match", *found, extension=[{"url": _SUGGESTION, "valueBoolean": True}])
