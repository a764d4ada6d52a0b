"""Provider plug-ins: the example of the docs, installed; clashes and broken ones are one line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.errors import ConfigurationError, ProviderError
from omop_emb.providers import plugin_problems
from omop_emb.providers.plugins import plugins
from omop_emb.service.doctor import diagnose

DOCUMENT, QUERY = EmbeddingRole.DOCUMENT, EmbeddingRole.QUERY
PAGE = Path(__file__).parents[3] / "docs/how-to/provider-plugin.md"
Install = Callable[..., Path]


def page_files() -> tuple[str, str]:
    """The example's pyproject.toml and module, as the page has them."""
    text = PAGE.read_text()
    blocks = [re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL) for kind in ("toml", "python notest")]
    project, module = (block[1] for block in blocks if block is not None)
    return project, module


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a package: its module and what an installer would write beside it."""

    def install(package: str, provider: str, target: str, module: str) -> Path:
        folder = tmp_path / package
        metadata = folder / f"{package}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (folder / f"{target.partition(':')[0]}.py").write_text(module)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[omop_emb.providers]\n{provider} = {target}\n")
        monkeypatch.syspath_prepend(str(folder))
        plugins.cache_clear()
        return folder

    yield install
    plugins.cache_clear()
    for name in [name for name in sys.modules if name.startswith(("acme_", "broken_"))]:
        del sys.modules[name]


@pytest.fixture
def acme(install: Install) -> Path:
    """The docs' example, installed as its pyproject.toml says."""
    project, module = page_files()
    points = tomllib.loads(project)["project"]["entry-points"]["omop_emb.providers"]
    ((provider, target),) = points.items()
    return install("acme_embeddings", provider, target, module)


@pytest.mark.usefixtures("acme")
def test_the_example_of_the_docs_embeds_and_is_found_again_by_its_fingerprint() -> None:
    assert len(page_files()[1].splitlines()) <= 35
    client = EmbeddingClient("acme:256", document_prefix="", query_prefix="")
    rows = client.embeddings(["aspirin", "Aspirin 100 mg", "fracture of femur"], embedding_role=DOCUMENT)
    assert rows.shape == (3, 256)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    (query,) = client.embeddings(["aspirins"], embedding_role=QUERY)
    assert np.argmax(rows @ query) == 0
    fingerprint = client.fingerprint
    assert (fingerprint.provider, fingerprint.model, fingerprint.revision) == ("acme", "256", "1")
    assert EmbeddingClient.for_fingerprint(fingerprint).fingerprint == fingerprint


@pytest.mark.usefixtures("acme")
def test_what_the_example_refuses_is_said_in_its_words() -> None:
    with pytest.raises(ConfigurationError, match="acme:LENGTH needs a whole number; found 'thing'"):
        EmbeddingClient("acme:thing")
    with pytest.raises(ConfigurationError, match="takes no task types"):
        EmbeddingClient("acme:16", tasks={QUERY: "CLUSTERING"})
    with pytest.raises(ConfigurationError, match=r"providers are local, .*acme; found 'acmee:16'"):
        EmbeddingClient("acmee:16")


def test_the_example_builds_a_space_and_searches_it(acme: Path, sample_database_url: str) -> None:
    def omop_emb(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).with_name("omop-emb")), *arguments],
            env={
                **os.environ,
                "OMOP_EMB_DATABASE_URL": sample_database_url,
                "OMOP_EMB_MODEL": "acme:256",
                "PYTHONPATH": str(acme),
            },
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )

    built = omop_emb("index", "build", "--index-type", "flat", "--texts", "name", "--limit", "50")
    assert built.returncode == 0, built.stderr
    (space,) = [
        row
        for row in json.loads(omop_emb("index", "list", "--format", "json").stdout)
        if row["model"] == "acme:256"
    ]
    assert omop_emb("index", "activate", space["name"]).returncode == 0
    found = omop_emb("search", "--dense", "fever", "--format", "json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)


GOOD = page_files()[1]
BROKEN = {
    "cannot be loaded (ModuleNotFoundError)": "import nothing_of_this_name",
    "cannot be loaded (AttributeError)": "x = 1",
    "cannot be loaded (ZeroDivisionError)": "1 / 0",
    "cannot be set up: broken 1.0 fails (TypeError)": "class AcmeProvider:\n    pass",
    "must have the name 'acme'": GOOD.replace('name = "acme"', 'name = "other"'),
    "must have Limits in `limits`": GOOD.replace("self.limits =", "self.limit ="),
    "must have a dict in `tasks`": GOOD.replace("self.model, self.tasks = model, {}", "self.model = model"),
    "must have the method model_info": GOOD.replace("def model_info", "def info"),
    "must have its model's name in `model`": GOOD.replace(
        "self.model, self.tasks = model,", "self.n, self.tasks = 1,"
    ),
}


@pytest.mark.parametrize("expected", BROKEN)
def test_a_broken_plug_in_is_one_line_that_names_its_package(install: Install, expected: str) -> None:
    install("broken", "acme", f"broken_{len(expected)}:AcmeProvider", BROKEN[expected])
    with pytest.raises(ConfigurationError) as caught:
        EmbeddingClient("acme:16", warn=False)
    message = str(caught.value)
    assert expected in message
    assert "broken 1.0" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (
            GOOD.replace("return EmbeddingResponse(rows)", "raise ValueError(texts[0])"),
            r"broken 1.0 fails \(ValueError\)",
        ),
        (GOOD.replace("EmbeddingResponse(rows)", "rows"), "must return an EmbeddingResponse; found ndarray"),
        (
            GOOD.replace('return ModelInfo(revision="1", dimensions=int(self.model))', 'raise KeyError("x")'),
            r"broken 1.0 fails \(KeyError\)",
        ),
    ],
    ids=["raises", "other answer", "no info"],
)
def test_what_a_plug_in_raises_is_one_line_without_its_message(
    install: Install, module: str, expected: str
) -> None:
    install("broken", "acme", f"broken_{len(module)}:AcmeProvider", module)
    client = EmbeddingClient("acme:16", warn=False)
    with pytest.raises(ProviderError, match=f"acme:16: .*{expected}") as caught:
        client.embeddings(["words of a patient"], embedding_role=QUERY)
    assert "words of a patient" not in str(caught.value)


def test_a_name_of_two_packages_is_refused_with_both(install: Install) -> None:
    install("first", "acme", "acme_first:AcmeProvider", GOOD)
    install("second", "acme", "acme_second:AcmeProvider", GOOD)
    line = "two packages offer the provider 'acme', first 1.0 and second 1.0: uninstall one of them"
    with pytest.raises(ConfigurationError, match=line):
        EmbeddingClient("acme:16")
    assert plugin_problems() == [line]
    assert [finding.details for finding in islice(diagnose(), 3)][-1] == line


def test_a_name_that_is_taken_stays_ours(install: Install) -> None:
    install("taken", "local", "acme_taken:AcmeProvider", GOOD.replace('"acme"', '"local"'))
    assert EmbeddingClient("local:all-MiniLM-L6-v2", warn=False).dimensions == 384
    assert plugin_problems() == [
        "the provider 'local' of taken 1.0 is not used: omop-emb has its own provider of that name"
    ]
