"""A mistyped command, option or value: the error's last line names what was probably meant."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from click.testing import CliRunner

main: Any = import_module("omop_emb.cli.main")
suggestions: Any = import_module("omop_emb.cli.suggestions")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("serach gout", "did you mean search?"),
        ("seach gout", "did you mean search?"),
        ("SEARCH gout", "did you mean search?"),
        ("indx list", "did you mean index?"),
        ("vocab load x", "did you mean vocabulary?"),
        ("vocabluary load x", "did you mean vocabulary?"),
        ("estimat", "did you mean estimate?"),
        ("evalute gold.csv", "did you mean evaluate?"),
        ("calibarte x.csv", "did you mean calibrate?"),
        ("docter", "did you mean doctor?"),
        ("mapp x.csv", "did you mean map?"),
        ("index bild", "did you mean build?"),
        ("index lst", "did you mean list?"),
        ("index cache cler", "did you mean clear?"),
        ("db statsu", "did you mean status or start?"),
        ("memory rember x", "did you mean remember?"),
        ("build", "did you mean index build?"),
        ("load x", "did you mean vocabulary load?"),
        ("xyzzy", "omop-emb --help lists them"),
        ("index xyzzy", "omop-emb index --help lists them"),
        ("search x --formt json", "Did you mean '--format'?"),
        ("search x --domian Drug", "'--domain'"),
        ("map x -o y --reveiw-queue z", "'--review-queue'"),
        ("search x --format jsn", "Did you mean json?"),
        ("search x --metric cosin", "Did you mean cosine?"),
        ("search x --metric inner", "Did you mean inner_product?"),
        ("index build --index-type hnws", "Did you mean hnsw?"),
        ("index build --texts names", "Did you mean name"),
        ("index import x --index-type flta", "Did you mean flat?"),
        ("search x --format yaml", "is not one of 'table', 'json', 'csv', 'tsv'."),
    ],
)
def test_what_is_mistyped_is_refused_with_what_was_meant(line: str, said: str) -> None:
    done = CliRunner().invoke(main.cli, line.split(), prog_name="omop-emb")
    assert done.exit_code == 2
    assert said in done.output.splitlines()[-1]


@pytest.mark.parametrize("written", ["json", "JSON", "Json"])
def test_a_value_may_be_written_in_capitals(written: str) -> None:
    assert suggestions.Choice(("table", "json")).convert(written, None, None) == "json"
