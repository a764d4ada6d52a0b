"""Pictures and outputs in the docs: whether they still show what the program shows today.

`make pictures` makes them anew (pytest --pictures docs/images); without that option the tests compare.
Numbers are not compared, and one line in five may differ, because another processor rounds otherwise, which
can swap two candidates.
"""

from __future__ import annotations

import re
from collections import Counter

REMEDY = "is older than what it shows: run make pictures, look at the result, and commit it"
_MAY_DIFFER = 0.2


def _lines(text: str) -> list[str]:
    """The words of each line, with 0 for every number, and without signs that only draw."""
    plain = re.sub(r"\d+(?:[.,]\d+)*", "0", text)
    return [
        " ".join(line.split()) for line in re.sub(r"[─━═│┃╭╮╰╯+|-]+", " ", plain).splitlines() if line.strip()
    ]


def is_still_shown(stored: str, fresh: str) -> bool:
    """Whether two outputs have the same first line, and nearly the same lines."""
    old, new = _lines(stored), _lines(fresh)
    if old[:1] != new[:1] or len(old) != len(new):
        return False
    changed = (Counter(new) - Counter(old)).total()
    return changed <= max(int(len(new) * _MAY_DIFFER), len(new) > 2)
