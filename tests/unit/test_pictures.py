"""What counts as the same output, and what makes a picture old."""

from __future__ import annotations

import pytest

from tests.pictures import is_still_shown

TABLE = "term  concept id  probability\n" + "".join(f"term {n}  {n}  0.{n}\n" for n in range(10))


@pytest.mark.parametrize(
    ("fresh", "same"),
    [
        (TABLE, True),
        (TABLE.replace("0.5", "0.4987"), True),
        (TABLE.replace("term 3 ", "other 3 "), True),
        (TABLE.replace("probability", "chance"), False),
        (TABLE.replace("term ", "word ", 4), False),
        (TABLE + "another line\n" * 4, False),
        ("", False),
    ],
)
def test_an_output_is_the_same_but_for_numbers_and_few_lines(fresh: str, same: bool) -> None:
    assert is_still_shown(TABLE, fresh) is same


def test_short_outputs_have_the_same_words() -> None:
    assert is_still_shown("53 of 66 terms\n", "52 of 66 terms\n")
    assert not is_still_shown("53 of 66 terms\n", "53 of 66 names\n")
