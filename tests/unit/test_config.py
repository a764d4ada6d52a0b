"""Variables: an empty one counts as not set, wherever it is read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from omop_emb import EmbeddingClient, config, database_engine
from omop_emb.embeddings import price_list
from omop_emb.errors import ConfigurationError
from omop_emb.providers import make_provider
from omop_emb.providers.rate_limiter import Rate
from omop_emb.records import Fingerprint
from omop_emb.spaces.space_client import check_variables

PAGE = Path(__file__).parents[2] / "docs/reference/variables.md"
DOCUMENTED = re.findall(r"^\| `([A-Z_]+)` \|", PAGE.read_text(), re.MULTILINE)
PREFIXES = ("OMOP_EMB_DOCUMENT_EMBEDDING_PREFIX", "OMOP_EMB_QUERY_EMBEDDING_PREFIX")


@dataclass(frozen=True)
class _Space:
    """What check_variables() reads of a space that was built with every setting."""

    fingerprint: Fingerprint
    name: str = "ours"
    is_active: bool = True


SPACE: Any = _Space(
    Fingerprint(
        provider="ollama",
        model="nomic-embed-text",
        revision="",
        dimensions=256,
        document_prefix="search_document: ",
        query_prefix="search_query: ",
    )
)


def client_settings() -> object:
    client = EmbeddingClient()
    return client.model, client.embedding_role_prefixes(), client.rate


def connection_of(model: str) -> object:
    provider = make_provider(model)
    connection = getattr(provider, "_connection", None) or getattr(provider, "_client", None)
    return provider.limits, {
        name: value for name, value in vars(connection).items() if isinstance(value, str | bool | None)
    }


READERS: dict[str, Callable[[], object]] = {
    "model": config.model,
    "data folder": config.data_dir,
    "rate": Rate.from_environment,
    "prices": price_list,
    "database": lambda: repr(database_engine().url),
    "a space's settings": lambda: check_variables(SPACE),
    "client": client_settings,
    "gemini": lambda: connection_of("gemini:gemini-embedding-001"),
    "ollama": lambda: connection_of("ollama:nomic-embed-text"),
    "openai": lambda: connection_of("openai:text-embedding-3-small"),
}


def test_every_variable_is_documented() -> None:
    assert {variable.name for variable in config.VARIABLES} == set(DOCUMENTED)


@pytest.mark.parametrize("blank", ["", "  ", "\n"], ids=repr)
@pytest.mark.parametrize("name", DOCUMENTED)
def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, name: str, blank: str) -> None:
    if name in PREFIXES and blank:
        monkeypatch.setenv(name, blank)
        assert config.variable(name) == blank
        return
    monkeypatch.delenv(name, raising=False)
    unset = {reader: read() for reader, read in READERS.items()}
    monkeypatch.setenv(name, blank)
    assert config.variable(name) is None
    assert {reader: read() for reader, read in READERS.items()} == unset


def test_blanks_around_a_value_do_not_count_except_in_a_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DOCUMENTED:
        monkeypatch.setenv(name, " 5 \n")
        assert config.variable(name) == (" 5 \n" if name in PREFIXES else "5")
    assert config.positive_integer("OMOP_EMB_THREADS") == 5


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", "٣", "9" * 5000])
def test_a_number_that_is_none_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("OMOP_EMB_THREADS", value)
    with pytest.raises(ConfigurationError, match="OMOP_EMB_THREADS must be a whole number above 0") as caught:
        config.positive_integer("OMOP_EMB_THREADS")
    assert len(str(caught.value)) < 200


def test_an_empty_number_of_threads_does_not_let_the_libraries_choose() -> None:
    code = (
        "from omop_emb import config; config.one_blas_thread(); import os; "
        "print(os.environ['OPENBLAS_NUM_THREADS'])"
    )
    for value, expected in (("", "1"), ("3", "3")):
        answer = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OPENBLAS_NUM_THREADS": value},
            capture_output=True,
            text=True,
            check=True,
        )
        assert answer.stdout.strip() == expected
