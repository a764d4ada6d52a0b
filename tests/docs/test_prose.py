"""The English of pages, messages, help and web pages: a small list of our own, and proselint.

Where a phrase is found, use a plain word, as the comments at the lists do. Where proselint is wrong, add its
rule to SILENT.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")])
SOURCES = sorted([*ROOT.glob("cli/**/*.py"), *ROOT.glob("omop_emb/**/*.py")])
TEMPLATES = sorted(ROOT.glob("omop_emb/web/templates/**/*.html"))
# Phrases that a reader has to read twice; each has a plain word: told -> reported, kept out -> skipped.
ODD_PHRASES = (
    *(
        "as it is made",
        "as it would",
        "asked of",
        "at hand",
        "comes along",
        "is told",
        "are told",
        "kept out",
    ),
    *("made anew", "need be", "stands in", "the way in which", "without a word", "for ever", "persons"),
)
# Long-winded words, and those of advertisements: in order to -> to, prior to -> before, utilize -> use.
LONG_PHRASES = (
    *("aforementioned", "and/or", "at this point in time", "basically", "blazing", "due to the fact"),
    *("facilitate", "for the purpose of", "functionality", "hereby", "in case of", "in order to"),
    *(
        "in the event that",
        "it should be noted",
        "leverage",
        "obviously",
        "please note",
        "powerful",
        "prior to",
    ),
    *(
        "respectively, the",
        "seamless",
        "seamlessly",
        "state of the art",
        "utilise",
        "utilize",
        "with regard to",
    ),
)
# A message says what to do: it does not beg, apologise, or shout.
MESSAGE_PHRASES = ("please", "sorry", "oops", "successfully", "unfortunately", "invalid argument", "illegal")
# Rules of proselint that do not fit: quotes are plain signs, "resume" continues a run, "ne" is no "né",
# and headings repeat the word before them.
SILENT = (
    *("typography", "lexical_illusions", "dates_times.dates", "dates_times.am_pm", "hedging"),
    *("misc.preferred_forms", "redundancy.misc.after_the_deadline"),
)
_SAYING = re.compile(r"(?:Error|echo|on_message|UsageError|BadParameter)$")


def _without_code(page: str) -> str:
    text = re.sub(r"^```.*?^```$|<!--.*?-->", "", page, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`]*`", "X", re.sub(r"\]\([^)]*\)", "]", text))


def _text(node: ast.expr) -> str:
    """The words of a string or an f-string, with X for each value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join("X" if isinstance(part, ast.FormattedValue) else _text(part) for part in node.values)
    return ""


def _messages(path: Path) -> Iterator[str]:
    """What a module says to people: errors, lines on stderr, help of options, help of commands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            yield from (_text(one) for one in node.args if _SAYING.search(name))
            yield from (_text(one.value) for one in node.keywords if one.arg in ("help", "hint"))
        elif isinstance(node, ast.FunctionDef) and "command" in map(_decorator, node.decorator_list):
            yield (ast.get_docstring(node) or "").partition("\b")[0]


def _decorator(node: ast.expr) -> str:
    return ast.unparse(node.func if isinstance(node, ast.Call) else node).rpartition(".")[2]


def _template_text(page: str) -> str:
    return re.sub(r"\{[%{#].*?[%}#]\}|<[^>]*>", " ", page, flags=re.DOTALL)


def _all_texts() -> dict[str, str]:
    texts = {str(path.relative_to(ROOT)): _without_code(path.read_text()) for path in PAGES}
    for path in SOURCES:
        texts[str(path.relative_to(ROOT))] = "\n\n".join(filter(None, _messages(path)))
    texts |= {str(path.relative_to(ROOT)): _template_text(path.read_text()) for path in TEMPLATES}
    return {name: text for name, text in texts.items() if text.strip()}


TEXTS = _all_texts()


@pytest.mark.parametrize("name", TEXTS)
def test_plain_words_are_used(name: str) -> None:
    text = " ".join(TEXTS[name].lower().split())
    phrases = (*ODD_PHRASES, *LONG_PHRASES, *(() if name.endswith(".md") else MESSAGE_PHRASES))
    used = [phrase for phrase in phrases if re.search(rf"\b{phrase}\b", text)]
    assert not used, f"say it in plain words: {used}"


@pytest.mark.parametrize("name", TEXTS)
def test_no_word_is_there_twice(name: str) -> None:
    repeated = re.findall(r"\b([a-z]{2,}) \1\b", TEXTS[name])
    assert not [word for word in repeated if word not in ("that", "had")]


def test_proselint_finds_nothing(tmp_path: Path) -> None:
    if find_spec("proselint") is None:
        pytest.skip("proselint is not installed")
    names = {}
    for number, (name, text) in enumerate(TEXTS.items()):
        (tmp_path / f"{number}.md").write_text(text)
        names[str(tmp_path / f"{number}.md")] = name
    command = [sys.executable, "-m", "proselint", "check", "--output-format", "json", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600)
    found = json.loads(run.stdout)["result"]
    assert set(found) <= {Path(name).as_uri() for name in names} | set(names)
    problems = [
        f"{names.get(file.removeprefix('file://'), file)}: {one['check_path']}: {one['message']}"
        for file, result in found.items()
        for one in result.get("diagnostics", ())
        if not one["check_path"].startswith(SILENT)
    ]
    assert problems == [], "\n".join(problems)


def test_the_reader_of_messages_sees_errors_help_and_commands(tmp_path: Path) -> None:
    source = tmp_path / "sample.py"
    source.write_text(
        '@click.command("x")\n@click.option("--y", help="Some help.")\ndef command():\n    """Do it."""\n'
        '    raise InputError(f"found {x}, not this")\n'
    )
    assert set(_messages(source)) >= {"Some help.", "Do it.", "found X, not this"}
