"""Whether names look English: by their letters, and by the words that an English vocabulary knows."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from omop_emb.mapping.terms.words import normal

# Of 49 English files of source terms from hospitals and registries, none had more than .28 words that a
# vocabulary of 300,000 concepts lacks, or more than .003 letters beyond ASCII. Of 22 Finnish, Dutch, Spanish,
# German and Korean ones, 21 had at least .32 such words; a Dutch list of scores had .27.
_UNKNOWN_WORDS, _OTHER_LETTERS = 0.3, 0.02
_LEAST_WORDS, _LEAST_KNOWN = 30, 20_000
_SHORT = 3  # letters of words that are abbreviations in any language


def looks_english(names: Iterable[str], known: Collection[str]) -> bool:
    """Whether names are English, as far as one can see; few names are judged by their letters alone.

    Args:
        names: source terms.
        known: the words of an English vocabulary; a small one is not asked.
    """
    listed = list(names)
    letters = [letter for name in listed for letter in name if letter.isalpha()]
    if sum(not letter.isascii() for letter in letters) > _OTHER_LETTERS * len(letters):
        return False
    words = [
        word for name in listed for word in normal(name).split() if len(word) > _SHORT and word.isalpha()
    ]
    if len(words) < _LEAST_WORDS or len(known) < _LEAST_KNOWN:
        return True
    return sum(word not in known for word in words) <= _UNKNOWN_WORDS * len(words)
