"""Prices: listed with date and source, and replaced by the user's own file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from omop_emb.embeddings.models import known_models
from omop_emb.embeddings.prices import Price, price_list, price_of
from omop_emb.errors import ConfigurationError


@pytest.fixture
def price_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "prices.toml"
    monkeypatch.setenv("OMOP_EMB_PRICES", str(path))
    return path


def test_each_price_has_a_date_and_a_source_and_batches_cost_no_more() -> None:
    listed = [known for known in known_models() if known.price is not None]
    assert {known.name.partition(":")[0] for known in listed} == {
        *("gemini", "openai", "cohere", "voyage", "mistral", "bedrock")
    }
    for known in listed:
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", known.price_date)
        assert known.price_source.startswith("https://")
        assert known.batch_price is None or known.batch_price <= (known.price or 0)


def test_a_model_on_this_machine_has_no_price() -> None:
    assert price_of("local:all-MiniLM-L6-v2") is None
    assert price_of("ollama:nomic-embed-text:v1.5") is None


def test_another_name_of_a_model_has_its_price() -> None:
    assert price_of("gemini:gemini-embedding-2-preview") == price_of("gemini:gemini-embedding-2")


def test_a_price_file_replaces_and_adds_prices(price_file: Path) -> None:
    price_file.write_text(
        '[[model]]\nname = "openai:text-embedding-3-small"\nprice = 0.015\nprice_date = "2027-01-01"\n'
        '[[model]]\nname = "openai:in-house"\nprice = 1\nbatch_price = 0.25\n'
    )
    assert price_of("openai:text-embedding-3-small") == Price(
        "openai:text-embedding-3-small", 0.015, None, "2027-01-01", str(price_file)
    )
    assert price_of("openai:in-house") == Price("openai:in-house", 1.0, 0.25, "", str(price_file))
    assert price_of("openai:text-embedding-3-large") is not None
    names = [price.model for price in price_list()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[model]]\nname=", "is not a TOML file"),
        ('[[model]]\nname = "x:y"\n', "needs name and price"),
        ('[[model]]\nname = "x:y"\nprice = "a lot"\n', "US dollars per million tokens"),
        ('[[model]]\nname = "x:y"\nprice = -1\n', "US dollars per million tokens"),
        ('[[model]]\nname = "x:y"\nprice = 1\ncurrency = "EUR"\n', "found 'currency'"),
        ("model = [1]\n", "needs name and price"),
    ],
)
def test_an_unusable_price_file_is_reported_in_one_line(price_file: Path, text: str, expected: str) -> None:
    price_file.write_text(text)
    with pytest.raises(ConfigurationError, match="OMOP_EMB_PRICES") as caught:
        price_list()
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_price_file_is_reported(price_file: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        price_list()
