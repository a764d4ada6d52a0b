"""Found concepts: what a search answers, each hit with what it was found through."""

from __future__ import annotations

from dataclasses import dataclass

from omop_emb.mapping.files.result_rows import reasons_text
from omop_emb.mapping.records import Candidate, Provenance, Retriever
from omop_emb.records import Concept


@dataclass(frozen=True, kw_only=True)
class Completion:
    """A text that begins as someone types, or has a word that does.

    Attributes:
        concept: the concept that has the text; of a non-standard concept's name, what that maps to.
        text: a name or synonym.
    """

    concept: Concept
    text: str


@dataclass(frozen=True, kw_only=True)
class FoundConcept:
    """A concept that a text may mean.

    Attributes:
        rank: from 1, the best, counted over all pages.
        score: the ranker's order, larger is better; comparable within one answer only.
        probability: that this concept is right, 0 to 1; None where none was calibrated, as for all but the
            first.
        found_through: why it was found, one line for people.
        candidate: mapping's record of it: variant, matched text, retrievers, path, flags, contributions.
        maps_to: of a concept that is not standard: the standard ones that it leads to.
    """

    rank: int
    concept: Concept
    score: float
    probability: float | None
    found_through: str
    candidate: Candidate
    maps_to: tuple[Concept, ...] = ()

    @property
    def similarity(self) -> float | None:
        """Cosine similarity of the nearest text, -1 to 1; None where vectors did not find it."""
        cosine = self.candidate.retrievers.get(Retriever.DENSE)
        # Stored vectors are a little longer or shorter than 1.
        return None if cosine is None else max(-1.0, min(1.0, cosine))

    @property
    def speaks_for(self) -> str:
        """The strongest reasons for it against its rival, if they were asked for."""
        return reasons_text(self.candidate, positive=True)

    @property
    def speaks_against(self) -> str:
        """The strongest reasons against it."""
        return reasons_text(self.candidate, positive=False)


@dataclass(frozen=True, kw_only=True)
class FoundConcepts:
    """What was found for a text.

    Attributes:
        query: the text.
        concepts: best first.
        expansions: the text with its abbreviations written out, the commonest reading first.
        suggestions: other texts that find something, where nothing fits well: "did you mean".
        provenance: what the answer was made with.
        notes: what a reader should know before the concepts.
        is_missing: whether the text looks like an id or code and is none; a note says why.
    """

    query: str
    concepts: tuple[FoundConcept, ...]
    expansions: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    provenance: Provenance
    notes: tuple[str, ...] = ()
    is_missing: bool = False


@dataclass(frozen=True, kw_only=True)
class SearchContents:
    """What a search finds concepts in.

    Attributes:
        vocabulary: release of the loaded vocabulary, "" if it names none.
        model: provider:model of the active space.
        domains, vocabularies, concept_classes: what filters may name, sorted.
    """

    vocabulary: str
    model: str
    domains: tuple[str, ...]
    vocabularies: tuple[str, ...]
    concept_classes: tuple[str, ...]
