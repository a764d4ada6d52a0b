"""Waiting builders: processes that build with a model that only waits."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from omop_emb import EmbeddingClient, EmbeddingRole, IndexType, database_engine
from omop_emb.indexing.build import build_index
from omop_emb.providers.base import EmbeddingResponse, Limits, ModelInfo


class WaitingModel:
    """Answers each text, after a wait like that for a network, with a vector chosen by its checksum."""

    name = "waiting"

    def __init__(self, model: str = "m", *, dimensions: int = 384, seconds: float = 0.0) -> None:
        self.model = model
        self.limits = Limits(batch_texts=64, concurrency=8 if seconds else 1)
        self.tasks: dict[EmbeddingRole, str] = {}
        self._dimensions, self._seconds = dimensions, seconds
        rows = np.random.default_rng(7).standard_normal((1024, dimensions)).astype(np.float32)
        self._rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def embed_batch(
        self, texts: Sequence[str], role: EmbeddingRole, *, timeout_seconds: float
    ) -> EmbeddingResponse:
        time.sleep(self._seconds)
        return EmbeddingResponse(self._rows[[crc32(text.encode()) % len(self._rows) for text in texts]])

    def model_info(self, *, timeout_seconds: float) -> ModelInfo:
        return ModelInfo(revision="1", dimensions=self._dimensions)


def client(model: str = "m", **options: Any) -> EmbeddingClient:
    return EmbeddingClient(provider=WaitingModel(model, **options), document_prefix="d: ", query_prefix="q: ")


def built_by(count: int, url: str, **options: Any) -> tuple[float, list[dict[str, float]]]:
    """Seconds that `count` builders take together from a common start, and the report of each."""
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, url, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    began = time.perf_counter()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    reports = [json.loads(process.communicate()[0]) for process in processes]
    return time.perf_counter() - began, reports


def main() -> None:
    url, options = sys.argv[1], json.loads(sys.argv[2])
    engine = database_engine(url)
    model = client(**options)
    engine.connect().close()
    print("ready", flush=True)
    sys.stdin.readline()
    report = build_index(engine, model, index_type=IndexType.FLAT)
    print(json.dumps({"texts": report.embedded_texts, "peak_bytes": peak_bytes()}))


def peak_bytes() -> int:
    """The peak memory of this process; ru_maxrss would include that of its parent."""
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
