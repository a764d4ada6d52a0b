"""The how-to that moves an index from Ollama to Gemini, walked through while another process searches."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine

from omop_emb import EmbeddingClient, IndexType
from tests.builds import build_with
from tests.fake_providers import FakeProviders, fake_providers, fake_vector
from tests.small_vocabulary import SmallVocabulary, five_concepts

PAGE = Path(__file__).parents[3] / "docs/how-to/migrate-ollama-to-gemini.md"
DOCUMENT, QUERY = "search_document: ", "search_query: "
NAMES = ["Hypertension", "Diabetes mellitus", "Metformin", "Diabetes"]

# Searches with what the active space supplies, one answer a line, until its input ends.
READER = """
import json, sys, threading, time
from sqlalchemy.orm import Session
from omop_emb import EmbeddingInterface, IndexType, MetricType, database_engine

ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
engine, interface = database_engine(), EmbeddingInterface()
while not ended.is_set():
    try:
        with Session(engine) as session:
            (hits,) = interface.get_nearest_concepts_from_query_texts(
                session=session, index_type=IndexType.FLAT, query_texts=("Metformin",),
                metric_type=MetricType.COSINE, k=4)
        told = {"best": hits[0].concept_name, "similarity": hits[0].similarity, "hits": len(hits)}
    except Exception as error:
        told = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(told), flush=True)
    time.sleep(0.02)
engine.dispose()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[FakeProviders]:
    with fake_providers() as fake:
        yield fake


@pytest.fixture
def variables(server: FakeProviders, database_url: str) -> dict[str, str]:
    """What everybody has: where both providers are, and the database."""
    return {
        **os.environ,
        "OLLAMA_HOST": server.url,
        "GOOGLE_GEMINI_BASE_URL": server.url,
        "GEMINI_API_KEY": "none",
        "OMOP_EMB_DATABASE_URL": database_url,
    }


@pytest.fixture
def vocabulary(engine: Engine, tmp_path: Path) -> SmallVocabulary:
    return five_concepts(engine, tmp_path)


@pytest.fixture(autouse=True)
def nomic(
    engine: Engine, server: FakeProviders, vocabulary: SmallVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", server.url)
    client = EmbeddingClient("ollama:nomic-embed-text", document_prefix=DOCUMENT, query_prefix=QUERY)
    build_with(engine, client, index_type=IndexType.FLAT, name="nomic", texts="name")


class Reader:
    """The process that searches."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.answers: list[dict[str, object]] = []

    def next_answers(self, count: int) -> list[dict[str, object]]:
        assert self._process.stdout is not None
        found = [json.loads(self._process.stdout.readline()) for _ in range(count)]
        self.answers += found
        return found

    def until(self, model: str) -> None:
        """Read on until an answer is that model's; fails after 100 seconds."""
        ends = time.monotonic() + 100  # its first imports a library of seconds
        while self.next_answers(1)[0] != right_answer(model):
            assert time.monotonic() < ends, self.answers[-1]


@contextmanager
def reading(variables: dict[str, str]) -> Iterator[Reader]:
    with subprocess.Popen(
        [sys.executable, "-c", READER],
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        reader = Reader(process)
        yield reader
        rest, _ = process.communicate("")
        reader.answers += map(json.loads, rest.splitlines())


def right_answer(model: str) -> dict[str, object]:
    """What a search for Metformin must find, by brute force over the models' vectors."""
    document, query = (DOCUMENT, QUERY) if model == "nomic" else ("", "")
    rows = np.array([fake_vector(f"{document}{name}", 768) for name in NAMES])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    asked = np.array(fake_vector(f"{query}Metformin", 768))
    cosines = rows @ (asked / np.linalg.norm(asked))
    best = int(np.argmax(cosines))
    return {"best": NAMES[best], "similarity": pytest.approx(cosines[best], abs=2e-3), "hits": len(NAMES)}


def steps() -> list[list[str]]:
    """The page's blocks of commands, line by line."""
    return [block.strip().splitlines() for block in re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.S)]


def run(lines: list[str], variables: dict[str, str]) -> dict[str, str]:
    """Run a block as a shell would; returns the variables that stand afterwards."""
    for line in lines:
        first, *rest = shlex.split(line)
        if first == "export":
            name, _, value = rest[0].partition("=")
            variables = {**variables, name: value}
            continue
        more = ["--index-type", "flat", "--texts", "name"] if rest[:2] == ["index", "build"] else []
        done = subprocess.run(
            [Path(sys.executable).with_name(first), *rest, *more],
            env=variables,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
    return variables


def test_searches_are_answered_throughout_and_use_the_new_model_after_the_switch(
    variables: dict[str, str],
) -> None:
    build, switch, drop = steps()
    assert right_answer("nomic") != right_answer("gemini")
    with reading(variables) as reader:
        assert reader.next_answers(3) == [right_answer("nomic")] * 3
        builder = run(build, variables)
        # Everything that has been answered by now, and then some more: nobody has noticed.
        reader.next_answers(5)
        run(switch[:-1], builder)
        reader.next_answers(1)
        run(switch[-1:], builder)
        reader.until("gemini")
        run(drop, builder)
        reader.next_answers(3)
    assert [answer for answer in reader.answers if "error" in answer] == []
    first_new = reader.answers.index(right_answer("gemini"))
    assert first_new > 8
    assert all(answer == right_answer("nomic") for answer in reader.answers[:first_new])
    assert all(answer == right_answer("gemini") for answer in reader.answers[first_new:])


def test_the_variables_of_the_new_model_cannot_search_the_old_space(
    variables: dict[str, str],
) -> None:
    build, _, _ = steps()
    done = subprocess.run(
        [Path(sys.executable).with_name("omop-emb"), "search", "Metformin"],
        env=run(build[:-1], variables),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "ollama:nomic-embed-text" in done.stderr
    assert "gemini:gemini-embedding-001" in done.stderr
