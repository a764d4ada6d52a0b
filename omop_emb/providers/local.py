"""Local provider: models that run in this process with onnxruntime and tokenizers, no other code."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from omop_emb import machine
from omop_emb.arrays import Vectors
from omop_emb.errors import ConfigurationError, InvalidAnswerError, MissingExtraError, TextRejectedError
from omop_emb.providers.base import EmbeddingResponse, Limits, ModelInfo
from omop_emb.providers.model_folder import (
    MULTILINGUAL_MODEL,
    PACKAGED_MODEL,
    POOLINGS,
    ModelFiles,
    folder_files,
    packaged_files,
)
from omop_emb.providers.no_telemetry import import_onnxruntime
from omop_emb.records import EmbeddingRole
from omop_emb.safe_files.foreign_errors import foreign_errors

# On one thread 8 to 16 texts in one run of the model are fastest; more only take memory.
_TEXTS_PER_RUN = 16
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_OPTION = re.compile(rf"{'|'.join(POOLINGS)}|int8|max_tokens=[1-9][0-9]{{0,5}}|revision=[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """One encoder as a model name spells it: a folder, hub id or packaged name, then @options."""

    name: str
    pooling: str | None = None
    int8: bool = False
    max_tokens: int | None = None
    revision: str | None = None

    @classmethod
    def parse(cls, spec: str) -> EncoderSpec:
        """Read NAME[@mean|@cls|@max|@last][@int8][@max_tokens=N][@revision=COMMIT]."""
        name, options = spec, list[str]()
        while "@" in name and _OPTION.fullmatch(name.rpartition("@")[2]):
            name, _, option = name.rpartition("@")
            options.insert(0, option)
        settings: dict[str, Any] = {}
        for option in options:
            key, _, value = option.partition("=")
            if key in POOLINGS:
                settings["pooling"] = key
            elif key == "int8":
                settings["int8"] = True
            else:
                settings[key] = int(value) if key == "max_tokens" else value
        if name == PACKAGED_MODEL and settings:
            why = "has int8 weights already" if "int8" in settings else "has its own pooling and longest text"
            raise ConfigurationError(f"the packaged {PACKAGED_MODEL} {why}: leave @{'@'.join(options)} out")
        if name == MULTILINGUAL_MODEL:
            raise ConfigurationError(
                f"the packaged {name} takes no options: name it local:{name}; found local:{spec}"
            )
        if name != PACKAGED_MODEL:
            path = Path(name).expanduser()
            if name.startswith(("/", ".", "~")) or path.is_dir():
                name = str(Path(os.path.abspath(path)))
            elif not _HUB_ID.fullmatch(name):
                raise ConfigurationError(
                    f"local:{spec} is neither a folder, nor a hub id such as owner/name, nor a "
                    f"packaged model, {PACKAGED_MODEL} or {MULTILINGUAL_MODEL}"
                )
        return cls(name=name, **settings)

    def __str__(self) -> str:
        max_tokens = f"max_tokens={self.max_tokens}" if self.max_tokens else None
        revision = f"revision={self.revision}" if self.revision else None
        parts = (self.name, self.pooling, "int8" if self.int8 else None, max_tokens, revision)
        return "@".join(part for part in parts if part)

    def files(self) -> ModelFiles:
        """The encoder's files, downloaded from the hub if need be."""
        if self.name == PACKAGED_MODEL:
            return packaged_files()
        folder = Path(self.name)
        if not folder.is_absolute():
            from omop_emb.providers.hub import hub_folder

            folder = hub_folder(self.name, revision=self.revision)
        return folder_files(folder, pooling=self.pooling, max_tokens=self.max_tokens, name=self.name)


class LocalProvider:
    """A model in this process, named ENCODER or DOCUMENT_ENCODER,QUERY_ENCODER; see EncoderSpec.

    `threads` batches are embedded at the same time, each on one thread; by default one per processor.
    """

    name = "local"

    def __init__(self, model: str, *, threads: int | None = None) -> None:
        specs = [EncoderSpec.parse(part) for part in model.split(",")]
        if len(specs) > 2:
            raise ConfigurationError(f"local:{model} names more than two encoders")
        self.model = ",".join(map(str, specs))
        self.tasks: dict[EmbeddingRole, str] = {}
        self.limits = Limits(
            batch_texts=256,
            concurrency=threads or machine.processors(),
            query_timeout_seconds=60.0,
            bulk_timeout_seconds=3600.0,
        )
        encoders = [_Encoder(spec) for spec in specs]
        self._encoders = {EmbeddingRole.DOCUMENT: encoders[0], EmbeddingRole.QUERY: encoders[-1]}

    def embed_batch(
        self, texts: Sequence[str], role: EmbeddingRole, *, timeout_seconds: float
    ) -> EmbeddingResponse:
        """Embed texts; one longer than the model reads is cut by its tokenizer."""
        return self._encoders[role].embed(texts)

    def model_info(self, *, timeout_seconds: float) -> ModelInfo:
        """A hash of weights, tokenizer, pooling and longest text; of both encoders if there are two."""
        files = [encoder.loadable_files() for encoder in dict.fromkeys(self._encoders.values())]
        dimensions = {entry.dimensions for entry in files}
        prompts = {role: encoder.files().prompts.get(role) for role, encoder in self._encoders.items()}
        return ModelInfo(
            revision="+".join(entry.revision for entry in files),
            dimensions=dimensions.pop() if len(dimensions) == 1 else None,
            suggested_prefixes={role: prompt for role, prompt in prompts.items() if prompt is not None},
        )


class _Encoder:
    """One ONNX model with its tokenizer, loaded at the first use."""

    def __init__(self, spec: EncoderSpec) -> None:
        self._spec = spec
        self._lock = threading.RLock()
        self._files: ModelFiles | None = None
        self._session: Any = None

    def files(self) -> ModelFiles:
        with self._lock:
            if self._files is None:
                files = self._spec.files()
                if self._spec.int8:
                    from omop_emb.providers.quantize import WEIGHTS

                    files = replace(files, revision=f"{files.revision}-{WEIGHTS}")
                self._files = files
            return self._files

    def loadable_files(self) -> ModelFiles:
        """The files, loaded once unless their hash is known: damaged ones must not identify a space."""
        if self._spec.name != PACKAGED_MODEL:
            self._load()
        return self.files()

    def embed(self, texts: Sequence[str]) -> EmbeddingResponse:
        self._load()
        with foreign_errors(f"local:{self._spec}", "has no tokens for it", TextRejectedError):
            encodings = self._tokenizer.encode_batch_fast(list(texts))
        lengths = np.array([len(encoding.ids) for encoding in encodings])
        order = np.argsort(lengths, kind="stable")
        parts: list[Vectors] = []
        for start in range(0, len(texts), _TEXTS_PER_RUN):
            parts.append(self._run([encodings[index] for index in order[start : start + _TEXTS_PER_RUN]]))
        vectors = np.empty((len(texts), parts[0].shape[1]), dtype=np.float32)
        vectors[order] = np.concatenate(parts)
        vectors[lengths == 0] = 0  # of a text without a token only the padding was pooled
        return EmbeddingResponse(vectors, tokens=int(lengths.sum()))

    def _run(self, encodings: Sequence[Any]) -> Vectors:
        longest = max(len(encoding.ids) for encoding in encodings)
        shape = (len(encodings), max(longest, 1))
        ids = np.full(shape, self.files().pad_token, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding.ids)] = encoding.ids
            mask[row, : len(encoding.ids)] = 1
        inputs = {
            "input_ids": ids,
            "attention_mask": mask,
            "token_type_ids": np.zeros(shape, dtype=np.int64),
            "position_ids": np.maximum(mask.cumsum(axis=1) - 1, 0),
        }
        try:
            output = self._session.run([self._output], {name: inputs[name] for name in self._inputs})[0]
        except Exception as error:
            # onnxruntime has a class for each status, and its message could quote the input. One text may be
            # the cause, such as one with a token that the weights do not know.
            raise TextRejectedError(
                f"local:{self._spec}: onnxruntime fails on it ({type(error).__name__})"
            ) from None
        if output.shape[:-1] != (shape if self._pooling else shape[:1]):
            raise InvalidAnswerError(
                f"local:{self._spec} returned an output of shape {output.shape} for {shape[0]} texts of "
                f"{shape[1]} tokens; export it for feature-extraction"
            )
        return output if self._pooling is None else _pool(output, mask, self._pooling)

    def _load(self) -> None:
        with self._lock:
            if self._session is not None:
                return
            files = self.files()
            try:
                onnxruntime = import_onnxruntime()
                from tokenizers import Tokenizer
            except ImportError:
                raise MissingExtraError(f"the model local:{self._spec}", "local") from None
            weights = files.weights
            if self._spec.int8:
                from omop_emb.providers.quantize import quantized_weights

                weights = quantized_weights(weights, files.revision)
            options = onnxruntime.SessionOptions()
            # One thread a run, several runs at once: threads inside one run wait for each other busily.
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 3
            what = "cannot be loaded: is it the tokenizer.json of this model?"
            with foreign_errors(files.tokenizer, what, ConfigurationError):
                tokenizer = Tokenizer.from_file(str(files.tokenizer))
            with foreign_errors(weights, "cannot be loaded: is it a complete ONNX file?", ConfigurationError):
                session = onnxruntime.InferenceSession(
                    str(weights), options, providers=["CPUExecutionProvider"]
                )
            tokenizer.enable_truncation(files.max_tokens)
            tokenizer.no_padding()
            self._inputs = [entry.name for entry in session.get_inputs()]
            unknown = set(self._inputs) - {"input_ids", "attention_mask", "token_type_ids", "position_ids"}
            if unknown:
                raise ConfigurationError(
                    f"{weights} needs {', '.join(sorted(unknown))}, for which omop-emb has no value; "
                    "export it for feature-extraction"
                )
            ranks = {entry.name: len(entry.shape) for entry in session.get_outputs()}
            self._output, self._pooling = choose_output(ranks, files, str(self._spec))
            self._tokenizer, self._session = tokenizer, session


def choose_output(ranks: Mapping[str, int], files: ModelFiles, name: str) -> tuple[str, str | None]:
    """The output to read, and how to pool it; None for an output that has one vector per text already.

    `ranks` has the number of axes of each output.
    """
    token_outputs = [output for output, rank in ranks.items() if rank == 3]
    if ranks.get("sentence_embedding") == 2 and (
        files.pooling is None or not files.is_standard or not token_outputs
    ):
        return "sentence_embedding", None
    if not files.is_standard:
        raise ConfigurationError(
            f"local:{name} has layers after pooling (modules.json) that are not in its ONNX file; use an "
            "export with the output sentence_embedding"
        )
    if not token_outputs:
        raise ConfigurationError(f"the ONNX file of local:{name} has no output with one vector per token")
    if files.pooling is None:
        raise ConfigurationError(
            f"local:{name} does not say how it pools; look in its card, then name it "
            f"local:{name}@mean, @cls, @max or @last"
        )
    preferred = [output for output in ("last_hidden_state", "token_embeddings") if output in token_outputs]
    return (preferred or token_outputs)[0], files.pooling


def _pool(hidden: Vectors, mask: np.ndarray[Any, np.dtype[np.int64]], pooling: str) -> Vectors:
    """(n, d) from the (n, tokens, d) of a transformer, over the tokens that are not masked."""
    pooled: Vectors
    if pooling == "cls":
        pooled = hidden[:, 0]
    elif pooling == "last":
        last = mask.shape[1] - 1 - np.argmax(mask[:, ::-1], axis=1)
        pooled = hidden[np.arange(len(hidden)), last]
    elif pooling == "max":
        pooled = np.where(mask[..., None] > 0, hidden, -np.inf).max(axis=1)
    else:
        weights = mask.astype(np.float32) / np.maximum(mask.sum(axis=1, keepdims=True), 1)
        pooled = np.matmul(weights[:, None, :].astype(np.float32), hidden)[:, 0]
    return pooled
