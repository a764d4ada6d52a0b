"""Text keys: equal for texts that are the same but for case, spaces and typography."""

from __future__ import annotations

import re

from omop_emb.mapping.terms.typography import same_characters

_AROUND = re.compile(r" ?([/*^<>=%()\[\]{}]) ?")
# A sign that stands before a number, after a space, is the number's: "x -3" is not "x-3".
_BEFORE_SIGN = re.compile(r"(?<=[^ ]) (?=[+-]+(?![+\-.\d]))")
_AFTER_SIGN = re.compile(r"(?<=[+-]) ")


def text_key(text: str) -> str:
    """What two texts have in common if they are the same but for case and spaces.

    Spaces do not count beside operators, brackets and signs, and elsewhere only whether there is one. Every
    other character counts: a sign, a comparator, a slash, an exponent, a decimal point, an accent, a hyphen.
    Characters that look the same, such as a hyphen and a minus sign, are the same.
    """
    key = " ".join(same_characters(text).casefold().split())
    if key.isalnum():
        return key
    return _AFTER_SIGN.sub("", _BEFORE_SIGN.sub("", _AROUND.sub(r"\1", key)))
