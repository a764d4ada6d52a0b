"""Pictures and outputs in the docs: whether they still show what the program shows today.

`make pictures` makes them anew (pytest --pictures docs/images); without that option the tests compare.
Numbers are not compared, and one line in five may differ, because another processor rounds otherwise, which
can swap two candidates.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[1]
SHOWN = ROOT / "docs/images/shown.json"  # the text of each screenshot, and a digest of the style sheets

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
    if old[:1] != new[:1]:
        return False
    gone, come = Counter(old), Counter(new)
    changed = max((gone - come).total(), (come - gone).total())
    return changed <= max(int(len(new) * _MAY_DIFFER), len(new) > 2)


def _style_digest() -> str:
    sheets = sorted((ROOT / "omop_emb/web/static").rglob("*.css"))
    return hashlib.sha256(b"".join(sheet.read_bytes() for sheet in sheets)).hexdigest()[:16]


def screenshot(page: Page, config: pytest.Config, name: str) -> None:
    """Take the picture docs/images/NAME.png if pictures are asked for; otherwise fail if it is too old."""
    shown = json.loads(SHOWN.read_text(encoding="utf-8"))
    text = page.locator("body").inner_text()
    if folder := config.getoption("--pictures"):
        page.screenshot(path=Path(folder) / f"{name}.png")
        shown[name] = {"styles": _style_digest(), "lines": text.splitlines()}
        written = json.dumps(dict(sorted(shown.items())), ensure_ascii=False, indent=1)
        SHOWN.write_text(f"{written}\n", encoding="utf-8")
    assert name in shown, f"docs/images/{name}.png {REMEDY}"
    assert shown[name]["styles"] == _style_digest(), f"docs/images/{name}.png {REMEDY} (the style sheets)"
    before = "\n".join(shown[name]["lines"])
    assert is_still_shown(before, text), f"docs/images/{name}.png {REMEDY}\n{before}\nis now\n{text}"
