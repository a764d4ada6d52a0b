"""A builder process that can be killed: python -m tests.postgres.indexing.builder TARGET LOG JSON.

It says "ready", waits for a line, builds, and prints what it did as JSON; each batch that the model is sent
is written to LOG beforehand, as a line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omop_emb import EmbeddingRole, IndexType
from omop_emb.database.engine import database_engine
from omop_emb.errors import OmopEmbError
from omop_emb.providers.base import EmbeddingResponse
from tests.builds import build_with
from tests.small_vocabulary import CountingProvider, counting_client

ROOT = Path(__file__).parents[3]


class LoggingProvider(CountingProvider):
    """Writes down what it is asked for, so that a kill does not make it forget."""

    def __init__(self, log: Path, **options: Any) -> None:
        super().__init__(**options)
        self._log = log.open("a", buffering=1)

    def embed_batch(
        self, texts: Sequence[str], role: EmbeddingRole, *, timeout_seconds: float
    ) -> EmbeddingResponse:
        self._log.write(json.dumps(list(texts)) + "\n")
        return super().embed_batch(texts, role, timeout_seconds=timeout_seconds)


class BuilderProcess:
    """Starts a builder, which waits for begin()."""

    def __init__(self, target: str, log: Path, *, provider: dict[str, Any], **options: Any) -> None:
        self.log = log
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, target, str(log), json.dumps([provider, options])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def begin(self) -> None:
        """Wait until it is ready, and let it build."""
        assert self.process.stdout is not None
        assert self.process.stdin is not None
        assert self.process.stdout.readline() == "ready\n"
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self, timeout_seconds: float = 60) -> tuple[int, str, str]:
        """Exit code, what it did, and what it complained of; the process is gone then."""
        try:
            said, complained = self.process.communicate(timeout=timeout_seconds)
        finally:
            self.gone()
        return self.process.returncode, said, complained

    def gone(self) -> None:
        """Kill it if it is alive."""
        with self.process:
            self.process.kill()

    def sent(self) -> list[str]:
        """Every text that its model was sent."""
        if not self.log.exists():
            return []
        return [text for line in self.log.read_text().splitlines() for text in json.loads(line)]


def main() -> None:
    target, log = sys.argv[1], Path(sys.argv[2])
    provider, options = json.loads(sys.argv[3])
    engine = database_engine(target) if "://" in target else database_engine(data_dir=Path(target))
    client = counting_client(LoggingProvider(log, **provider))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    index_type = IndexType(options.pop("index_type", "flat"))
    try:
        report = build_with(engine, client, index_type=index_type, **options)
    except OmopEmbError as error:
        sys.exit(f"error: {error}")
    finally:
        engine.dispose()
    sys.stdout.write(json.dumps({"embedded": report.embedded, "texts": report.embedded_texts}))


if __name__ == "__main__":
    main()
