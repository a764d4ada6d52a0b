"""Language of names: whether they look English, by their letters and by the words of a vocabulary."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from omop_emb.mapping.terms.words import normalise

# Of 49 English files of source terms from hospitals and registries, none had more than .28 words that a
# vocabulary of 300,000 concepts lacks, or more than .003 letters beyond ASCII. Of 22 Finnish, Dutch, Spanish,
# German and Korean ones, 21 had at least .32 such words; a Dutch list of scores had .27.
_MAX_UNKNOWN_WORDS, _MAX_OTHER_LETTERS = 0.3, 0.02  # shares
_MIN_WORDS, _MIN_VOCABULARY_WORDS = 30, 20_000
_ABBREVIATION_LETTERS = 3  # words no longer than this are abbreviations in any language


def looks_english(names: Iterable[str], vocabulary_words: Collection[str]) -> bool:
    """Whether names seem to be English; with few names or a small vocabulary, by their letters alone.

    Args:
        names: source terms.
        vocabulary_words: the normalised words of an English vocabulary.
    """
    names = list(names)
    letters = [letter for name in names for letter in name if letter.isalpha()]
    if sum(not letter.isascii() for letter in letters) > _MAX_OTHER_LETTERS * len(letters):
        return False
    words = [
        word
        for name in names
        for word in normalise(name).split()
        if len(word) > _ABBREVIATION_LETTERS and word.isalpha()
    ]
    if len(words) < _MIN_WORDS or len(vocabulary_words) < _MIN_VOCABULARY_WORDS:
        return True
    return sum(word not in vocabulary_words for word in words) <= _MAX_UNKNOWN_WORDS * len(words)
