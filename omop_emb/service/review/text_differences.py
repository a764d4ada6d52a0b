"""Text differences: a term and a concept's name word by word, with what changes the meaning marked."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import Enum

from omop_emb.mapping.records import Candidate
from omop_emb.mapping.terms import contrasts, drugs, signs
from omop_emb.mapping.terms.flags import flags
from omop_emb.mapping.terms.numbers import parse_number
from omop_emb.mapping.terms.sides import write_sides
from omop_emb.mapping.terms.unit_symbols import everyday_symbol
from omop_emb.mapping.terms.words import normalise
from omop_emb.service.review.term_keys import text_key

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+|\s+|.", re.DOTALL)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_A_NUMBER, _A_UNIT = "number", "unit"
_ONE_LETTER_UNITS = frozenset("gGlL")
_SMALL = frozenset("a an and by for from in of on or the to with".split())


class SpanKind(Enum):
    """What a piece of a text is, compared with the other text."""

    SAME = "same"  # is in the other text, too
    LIKE = "like"  # is there in other words: an abbreviation, a synonym
    ONLY = "only"  # is in this text only
    DIFFERS = "differs"  # changes the meaning, such as another side of the body
    PLAIN = "plain"  # spaces, punctuation, small words


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a text.

    Attributes:
        about: what differs, such as "laterality"; "" unless its kind is DIFFERS.
    """

    text: str
    kind: SpanKind
    about: str = ""


@dataclass(frozen=True, slots=True)
class TextComparison:
    """A term and a concept's name; the spans of each together are its whole text.

    Attributes:
        is_same: whether they are the same text but for case, punctuation and plural.
    """

    term: tuple[Span, ...]
    name: tuple[Span, ...]
    is_same: bool


def compare_texts(term: str, candidate: Candidate) -> TextComparison:
    """Compare a term with the name of a candidate, knowing through which words it was found."""
    name, domain = candidate.concept_name, candidate.domain_id
    is_rewritten = candidate.variant.rule not in ("original", "clean", "code")
    same_strength = domain == "Drug" and drugs.strengths(term) == drugs.strengths(name) != ()
    differing = _differing(term, name, candidate, same_strength=same_strength)
    own, others = _tokens(term), _tokens(name)
    words, other_words = _words(term), _words(name)
    read_as = _words(candidate.variant.text) if is_rewritten else words
    called = (candidate.matched_text, *(step.concept_name for step in candidate.path))
    other_names = frozenset[str]().union(*map(_words, called))
    # Another name of the concept is what the term says: then its own name says it, too.
    is_called_so = any(_words(text) in (words, read_as) for text in called)
    return TextComparison(
        term=_spans(own, other_words, other_names | (words - read_as), differing, same_strength),
        name=_spans(
            others, words, read_as | (other_words if is_called_so else frozenset()), differing, same_strength
        ),
        is_same=bool(term.strip()) and text_key(term) == text_key(name),
    )


def _differing(term: str, name: str, candidate: Candidate, *, same_strength: bool) -> frozenset[str]:
    """What term and name differ in: groups of contrasts and of signs, "strength", "number", "unit"."""
    found = [
        *flags(term, candidate.variant.text, name, candidate.domain_id),
        *signs.differences(signs.signs_of(term), signs.signs_of(name), is_unit=candidate.domain_id == "Unit"),
    ]
    groups = {flag.partition(":")[0] for flag in found}
    if "strength" not in groups and not same_strength:
        own, others = _amounts(term), _amounts(name)
        for about in (_A_NUMBER, _A_UNIT):
            if own[about] - others[about] and others[about] - own[about]:
                groups.add(about)
    return frozenset(groups)


def _amounts(text: str) -> dict[str, set[str]]:
    """The numbers of a text, and the units that follow one or divide."""
    tokens = _tokens(text)
    numbers = {_key(token) for token in tokens if _NUMBER.fullmatch(token)}
    units = {_key(tokens[number]) for number in range(len(tokens)) if _is_unit(tokens, number)}
    return {_A_NUMBER: numbers, _A_UNIT: units}


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


def _key(token: str) -> str:
    """What equal tokens have in common: the value of a number, a unit's symbol, a word without its plural."""
    if _NUMBER.fullmatch(token):
        return f"{parse_number(token):g}"
    if not token.strip() or not token.isalpha():
        return ""
    if (len(token) > 1 or token in _ONE_LETTER_UNITS) and (symbol := everyday_symbol(token)) is not None:
        return f"unit {symbol}"
    return text_key(token)


def _words(text: str) -> frozenset[str]:
    return frozenset(filter(None, map(_key, _tokens(text))))


def _spans(
    tokens: Sequence[str],
    same: Collection[str],
    like: Collection[str],
    differing: Collection[str],
    same_strength: bool,
) -> tuple[Span, ...]:
    about = _what_each_is_about(tokens, differing)
    pieces: list[Span] = []
    for number, (token, differs) in enumerate(zip(tokens, about, strict=True)):
        key = _key(token)
        if not differs and key not in same:
            is_number, is_unit = _NUMBER.fullmatch(token) is not None, _is_unit(tokens, number)
            found = [one for one, holds in ((_A_NUMBER, is_number), (_A_UNIT, is_unit)) if holds]
            differs = next((one for one in found if one in differing), "")
        is_amount = key.startswith("unit ") or _NUMBER.fullmatch(token) is not None
        if differs and not (differs == "strength" and key in same):
            kind = SpanKind.DIFFERS
        elif not key or token.casefold() in _SMALL:
            kind = SpanKind.PLAIN
        elif key in same or (same_strength and is_amount):
            kind = SpanKind.SAME
        else:
            kind = SpanKind.LIKE if key in like else SpanKind.ONLY
        pieces.append(Span(token, kind, differs if kind is SpanKind.DIFFERS else ""))
    return tuple(_joined(pieces))


def _what_each_is_about(tokens: Sequence[str], differing: Collection[str]) -> list[str]:
    """For each token what it says of what differs; "" for nothing."""
    about = [""] * len(tokens)
    if not differing:
        return about
    masks = {group: mask for group, mask in contrasts.masks().items() if group in differing}
    for numbers, bits in _named_values(tokens):
        group = next((group for group, mask in masks.items() if bits & mask), "")
        for number in numbers if group else ():
            about[number] = group
    sign_groups = [group for group in signs.GROUPS if group in differing]
    for number, token in enumerate(tokens):
        if about[number] or not token.strip():
            continue
        if "strength" in differing and _is_of_strength(tokens, number):
            about[number] = "strength"
        elif sign_groups:
            # A sign may stand alone, as "+" in "Rh +", or be a word.
            said = {group for group, _ in (*signs.signs_of(token), *signs.signs_of(f"x {token}"))}
            about[number] = next((group for group in sign_groups if group in said), "")
    return about


def _named_values(tokens: Sequence[str]) -> Iterator[tuple[list[int], int]]:
    """The words that name a value of a contrast: their numbers, and the bits of contrasts.py."""
    places = [number for number, token in enumerate(tokens) if token.isalnum()]
    words = [normalise(tokens[number]) for number in places]
    phrases = sorted(contrasts.phrases().items(), key=lambda item: -len(item[0]))
    place = 0
    while place < len(words):
        for phrase, bits in phrases:
            if phrase[0] == words[place] and tuple(words[place : place + len(phrase)]) == phrase:
                yield places[place : place + len(phrase)], bits
                place += len(phrase)
                break
        else:
            yield [places[place]], contrasts.bits_of_word(words[place])
            place += 1
    yield from _sides(tokens)


def _sides(tokens: Sequence[str]) -> Iterator[tuple[list[int], int]]:
    """Sides of the body that are abbreviated, or said in another language."""
    written = _tokens(write_sides("".join(tokens)))
    matcher = SequenceMatcher(a=tokens, b=written, autojunk=False)
    for tag, start, stop, other_start, other_stop in matcher.get_opcodes():
        if tag == "replace":
            bits = contrasts.bits(normalise("".join(written[other_start:other_stop])))
            yield list(range(start, stop)), bits


def _is_of_strength(tokens: Sequence[str], number: int) -> bool:
    """Whether a token is a number, or the unit right after one."""
    return _NUMBER.fullmatch(tokens[number]) is not None or _is_unit(tokens, number)


def _is_unit(tokens: Sequence[str], number: int) -> bool:
    """Whether a token is a unit after a number, or one that divides."""
    if not _key(tokens[number]).startswith("unit "):
        return False
    before = [piece for piece in tokens[max(0, number - 3) : number] if piece.strip() and piece != "-"]
    return bool(before) and (_NUMBER.fullmatch(before[-1]) is not None or before[-1] == "/")


def _joined(pieces: Sequence[Span]) -> Iterator[Span]:
    """Neighbours of one kind as one piece, with the blanks between them."""
    current: Span | None = None
    for number, piece in enumerate(pieces):
        following = pieces[number + 1] if number + 1 < len(pieces) else None
        is_between = piece.text.isspace() and current is not None and following is not None
        if is_between and following is not None and current is not None:
            if (following.kind, following.about) == (current.kind, current.about):
                piece = Span(piece.text, current.kind, current.about)
        if current is not None and (piece.kind, piece.about) == (current.kind, current.about):
            current = Span(current.text + piece.text, piece.kind, piece.about)
            continue
        if current is not None:
            yield current
        current = piece
    if current is not None:
        yield current
