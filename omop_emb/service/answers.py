"""Answers: for each text of a search its concepts, with what they were found through, readings and hints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from omop_emb.mapping.mapper import Mapper
from omop_emb.mapping.records import Candidate, MappedTerm, Retriever, SourceTerm, Variant
from omop_emb.mapping.resources import Resources
from omop_emb.mapping.settings import Settings
from omop_emb.mapping.terms.variants import query_variants
from omop_emb.mapping.terms.words import normalise
from omop_emb.records import Concept
from omop_emb.service.found_concepts import FoundConcept, FoundConcepts
from omop_emb.service.found_through import found_through
from omop_emb.service.misspelling import corrected
from omop_emb.vocabulary.lookup import LookUp

_MOST_SUGGESTIONS = 3


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Answers texts with what was read of a database; it needs none itself.

    Attributes:
        settings: as in mapping; `candidates` is how many concepts are found.
        resources: those that the settings need.
        standard: those of standard concepts, which others map to.
        looked_up: the texts that are ids or codes.
        by_code: text -> the concepts that have it as their code, in whatever vocabulary.
    """

    settings: Settings
    resources: Resources
    standard: Resources
    looked_up: LookUp
    by_code: Mapping[str, Sequence[Concept]] = field(default_factory=dict)

    def of(self, texts: Sequence[str]) -> list[FoundConcepts]:
        """One answer for each text, in their order."""
        known = {text: answer for text in texts if (answer := self._known(text)) is not None}
        rest = [text for text in dict.fromkeys(texts) if text not in known]
        passing = self.resources.engine.passing(self.settings.concept_filter)
        if passing is not None and not passing.any():
            self.resources.check_values(self.settings)
            known |= {text: self._answer(text, [], "no concept passes the filter") for text in rest}
            return [known[text] for text in texts]
        with closing(Mapper(self.resources, self.settings)) as mapper:
            mapped = mapper.map(SourceTerm(name=text) for text in rest)
            notes = tuple(mapper.notes)
            known |= {
                text: self._found(text, of_text, notes) for text, of_text in zip(rest, mapped, strict=True)
            }
        return [known[text] for text in texts]

    def _known(self, text: str) -> FoundConcepts | None:
        """The answer for an id, a code, or a text that says nothing; None for a text to search for."""
        if text in self.looked_up.concepts:
            concept = self.looked_up.concepts[text]
            answer = self._answer(text, [self._looked_up(text, concept, probability=1.0)])
            return replace(answer, suggestions=() if ":" in text else self._codes(text))
        same_code = self._unambiguous(text)
        if same_code:
            return self._answer(text, [self._looked_up(text, one, probability=None) for one in same_code])
        if text in self.looked_up.missing:
            answer = self._answer(text, [], self.looked_up.missing[text])
            return replace(answer, suggestions=self._codes(text), is_missing=True)
        if not SourceTerm(name=text).has_name:
            return self._answer(text, [], "the text has no letter or digit to search for")
        return None

    def _answer(self, text: str, hits: Sequence[FoundConcept], *notes: str) -> FoundConcepts:
        ranked = tuple(replace(hit, rank=rank) for rank, hit in enumerate(hits, 1))
        return FoundConcepts(
            query=text,
            concepts=ranked[: self.settings.candidates],
            provenance=self.resources.provenance(self.settings),
            notes=notes,
        )

    def _found(self, text: str, mapped: MappedTerm, notes: tuple[str, ...]) -> FoundConcepts:
        words = self.resources.engine.lexical.words.column
        hits = [
            FoundConcept(
                rank=candidate.rank,
                concept=_concept(candidate),
                score=candidate.score,
                probability=candidate.probability,
                found_through=found_through(text, candidate, words),
                candidate=candidate,
                maps_to=self._maps_to(candidate.concept_id),
            )
            for candidate in mapped.candidates
        ]
        readings = tuple(
            variant.text
            for variant in query_variants(
                text,
                rules=("clean", "abbreviation"),
                limit=50,
                harvested=self.resources.engine.lexical.abbreviations,
            )
            if "abbreviation" in variant.rule
        )
        if not hits and self.settings.filter_text:
            notes = (*notes, f"nothing was found with {self.settings.filter_text}")
        answer = self._answer(text, hits, *notes)
        suggestions = (*self._codes(text), *(() if readings else self._corrections(text, mapped)))
        return replace(answer, expansions=readings, suggestions=suggestions[:_MOST_SUGGESTIONS])

    def _corrections(self, text: str, mapped: MappedTerm) -> list[str]:
        """Corrected spellings of a text that finds nothing to the letter, as far as they find something."""
        best = mapped.best
        if best is not None and normalise(best.matched_text) == normalise(best.variant.text):
            return []
        engine = self.resources.engine
        texts = corrected(text, engine.lexical)
        if not texts:
            return []
        passing = engine.passing(self.settings.concept_filter)
        found, _ = engine.lexical.search(engine.lexical.encode(texts), [None] * len(texts), 1, passing)
        return [texts[number] for number in found.tolist()]

    def _looked_up(self, text: str, concept: Concept, *, probability: float | None) -> FoundConcept:
        """The concept that a text is the id or code of."""
        candidate = Candidate(
            rank=1,
            concept_id=concept.concept_id,
            concept_name=concept.concept_name,
            domain_id=concept.domain_id or "",
            vocabulary_id=concept.vocabulary_id or "",
            concept_class_id=concept.concept_class_id or "",
            standard_concept=concept.standard_concept,
            concept_code=concept.concept_code or "",
            score=0.0,
            probability=probability,
            variant=Variant(text, "code"),
            matched_text=text,
            matched_kind="code",
            retrievers={Retriever.CODE: 1.0},
        )
        is_id = probability is not None and ":" not in text
        return FoundConcept(
            rank=1,
            concept=concept,
            score=0.0,
            probability=probability,
            found_through=f"concept id {concept.concept_id}" if is_id else found_through(text, candidate),
            candidate=candidate,
            maps_to=self._maps_to(concept.concept_id),
        )

    def _unambiguous(self, text: str) -> Sequence[Concept]:
        """The concepts with a code, if it is one, or all lead to the same standard concepts; else ()."""
        concepts = self.by_code.get(text, ())
        lexicon = self.standard.engine.lexicon
        targets = {frozenset(row for _, row in lexicon.standard_targets(one.concept_id)) for one in concepts}
        is_same = len(targets) == 1 and targets != {frozenset()}
        return concepts if len(concepts) == 1 or is_same else ()

    def _codes(self, text: str) -> tuple[str, ...]:
        """Where a text is the code of several concepts: what to write for each."""
        codes = (f"{one.vocabulary_id}:{one.concept_code}" for one in self.by_code.get(text, ()))
        return tuple(dict.fromkeys(codes))

    def _maps_to(self, concept_id: int) -> tuple[Concept, ...]:
        """The standard concepts that one that is none leads to."""
        lexicon = self.standard.engine.lexicon
        return tuple(lexicon.concept(row) for _, row in lexicon.targets.get(concept_id))


def _concept(candidate: Candidate) -> Concept:
    return Concept(
        concept_id=candidate.concept_id,
        concept_name=candidate.concept_name,
        domain_id=candidate.domain_id,
        vocabulary_id=candidate.vocabulary_id,
        concept_class_id=candidate.concept_class_id,
        standard_concept=candidate.standard_concept,
        concept_code=candidate.concept_code,
    )
