"""Term values: the domains and vocabularies of source terms, spelt as the vocabulary spells them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from omop_emb.mapping.records import SourceTerm
from omop_emb.mapping.retrieval.lexicon import Lexicon
from omop_emb.records import counted
from omop_emb.vocabulary.spelling import closest_values, intended_value, split_values


class TermValues:
    """Spells the values of terms, and counts what it changed or did not find.

    Args:
        lexicon: whose domains and vocabularies of codes exist.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._existing = {"domain": lexicon.domains, "vocabulary": lexicon.code_vocabularies}
        self._lexicon = lexicon
        self._unknown_suggestions = 0
        self._values: dict[tuple[str, str], list[tuple[str, str | None]]] = {}
        self._changed: Counter[tuple[str, str, str]] = Counter()
        self._unknown: Counter[tuple[str, str]] = Counter()

    def spell(self, term: SourceTerm) -> SourceTerm:
        """A term with its values as the vocabulary spells them; unknown ones stay as they are."""
        for concept_id in term.suggestions:
            self._unknown_suggestions += not self._lexicon.standard_targets(concept_id)
        if not term.domain and not term.source_vocabulary:
            return term
        domain = self._spell("domain", term.domain) if term.domain else None
        vocabulary = self._spell("vocabulary", term.source_vocabulary) if term.source_vocabulary else None
        if (domain, vocabulary) == (term.domain, term.source_vocabulary):
            return term
        return replace(term, domain=domain, source_vocabulary=vocabulary)

    def unknown_value(self, kind: str, text: str) -> str | None:
        """The first part of a text ("domain" or "vocabulary") that does not exist; None if all do."""
        return next((part for part, value in self._parts(kind, text) if value is None), None)

    def nearest(self, kind: str, written: str) -> list[str]:
        """The existing values that are spelt most like one that does not exist, best first."""
        return closest_values(written, self._existing[kind])

    def messages(self) -> Iterator[str]:
        """One line for each value that was read as another one, or that does not exist."""
        for (kind, written, value), count in sorted(self._changed.items()):
            yield f"{kind} {written!r} was read as {value!r} ({counted(count, 'row')})"
        for (kind, written), count in sorted(self._unknown.items()):
            nearest = self.nearest(kind, written)[:1]
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            by_name = ": mapped by name alone" if kind == "vocabulary" else ""
            yield f"there is no {kind} {written!r} ({counted(count, 'row')}{by_name}){hint}"

        if self._unknown_suggestions:
            yield (
                f"{counted(self._unknown_suggestions, 'suggested concept id')} not in the loaded "
                "vocabulary, or "
                "without a standard concept"
            )

    def _spell(self, kind: str, text: str) -> str:
        spelt = []
        for part, value in self._parts(kind, text):
            if value is None:
                self._unknown[kind, part] += 1
            elif value.casefold() != part.casefold():
                self._changed[kind, part, value] += 1
            spelt.append(value or part)
        return "|".join(dict.fromkeys(spelt))

    def _parts(self, kind: str, text: str) -> list[tuple[str, str | None]]:
        """The values in a text, each with the existing one that is meant."""
        if (kind, text) not in self._values:
            existing = self._existing[kind]
            parts = split_values(text, existing)
            self._values[kind, text] = [(part, intended_value(part, existing)) for part in parts]
        return self._values[kind, text]
