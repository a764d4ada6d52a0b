"""Found through: why a search found a concept, in one line for people."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from omop_emb.mapping.records import Candidate, Retriever, Variant
from omop_emb.mapping.terms.abbreviations import readings
from omop_emb.mapping.terms.variants import clean
from omop_emb.mapping.terms.words import fold, normalise
from omop_emb.service.misspelling import is_near

_LONGEST = 60  # characters of a text that is shown; synonyms of LOINC's are lists
_MIN_SIMILARITY = 0.3  # below, words that texts share explain nothing


def found_through(text: str, candidate: Candidate, known_words: Collection[str] = ()) -> str:
    """What led from a text to a candidate: "abbreviation: HTN = hypertension; synonym 'Hypertension'".

    known_words: of the vocabulary; only others can be misspelt.
    """
    return "; ".join([*_rewriting(text, candidate.variant), _match(candidate, known_words)])


def _rewriting(text: str, variant: Variant) -> Iterator[str]:
    """What was made of the text before it was looked up."""
    if variant.rule in ("original", "clean", "code"):
        return
    if variant.rule != "abbreviation":
        yield f"{variant.rule}: {variant.text}"
        return
    written_as = {fold(written): written for written, _ in readings(text)}
    expanded = f" {normalise(variant.text)} "
    for written, meanings in dict(readings(clean(text))).items():
        meaning = next((one for one in meanings if f" {normalise(one)} " in expanded), None)
        if meaning is not None:
            yield f"abbreviation: {written_as.get(fold(written), written)} = {meaning}"


def _match(candidate: Candidate, known_words: Collection[str]) -> str:
    """How the concept's text that matched best is like what was looked up."""
    kind, found = candidate.matched_kind, candidate.retrievers
    quoted = f"'{_shortened(candidate.matched_text)}'"
    words, own = normalise(candidate.variant.text).split(), normalise(candidate.matched_text).split()
    of_source = f" of {candidate.path[0].concept_id}, which maps to it" if candidate.path else ""
    if Retriever.CODE in found:
        return f"code {candidate.vocabulary_id} {candidate.concept_code}"
    if kind == "alias":
        if words == own:
            return f"approved here before as {quoted}"
        return f"like {quoted}, which was approved here before ({found[Retriever.MEMORY]:.2f})"
    if kind == "code" and Retriever.EXACT in found:
        return f"unit {quoted}"
    if words == own:
        return f"exact name{of_source}" if kind == "name" else f"{kind} {quoted}{of_source}"
    # The concept's own name is shown beside it.
    of_text = f"{kind} {quoted}{of_source}" if kind != "name" or of_source else ""
    misspelt = [word for word in words if word not in own and word not in known_words and is_near(word, own)]
    if misspelt:
        return f"spelling of '{' '.join(misspelt)}'" + (of_text and f": {of_text}")
    lexical, dense = found.get(Retriever.LEXICAL, 0.0), found.get(Retriever.DENSE, 0.0)
    if Retriever.FURTHER in found and not dense and lexical < _MIN_SIMILARITY:
        # Which of its texts is near is not known of a further space, only how near.
        return f"similar in meaning in a further space ({found[Retriever.FURTHER]:.2f})"
    if dense > lexical or (dense and lexical < _MIN_SIMILARITY):
        return f"similar in meaning{of_text and f' to the {of_text}'} ({dense:.2f})"
    return f"similar words{of_text and f': {of_text}'}" + (f" ({lexical:.2f})" if lexical else "")


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1].rstrip()}\N{HORIZONTAL ELLIPSIS}"
