"""Models that run in this process: onnxruntime and tokenizers, no other code."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omop_emb.errors import ConfigurationError, InvalidAnswerError, MissingExtraError, TextRejectedError
from omop_emb.machine import processors
from omop_emb.providers.base import Answer, Identity, Limits
from omop_emb.providers.model_folder import PACKAGED, POOLINGS, ModelFiles, folder_files, packaged_files
from omop_emb.records import EmbeddingRole
from omop_emb.vectors import Matrix

# Texts of one run of the model: on one thread 8 to 16 are fastest, and more only take memory.
_ROWS_PER_RUN = 16
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_OPTION = re.compile(rf"{'|'.join(POOLINGS)}|int8|max_tokens=[1-9][0-9]*|revision=[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class EncoderName:
    """One encoder as a model name spells it: a folder, hub id or packaged name, then @options."""

    name: str
    pooling: str | None = None
    int8: bool = False
    max_tokens: int | None = None
    revision: str | None = None

    @classmethod
    def parse(cls, spelled: str) -> EncoderName:
        """Read NAME[@mean|@cls|@max|@last][@int8][@max_tokens=N][@revision=COMMIT].

        Raises:
            ConfigurationError: no folder, hub id or packaged model is spelt so.
        """
        name, options = spelled, list[str]()
        while "@" in name and _OPTION.fullmatch(name.rpartition("@")[2]):
            name, _, option = name.rpartition("@")
            options.insert(0, option)
        chosen: dict[str, Any] = {}
        for option in options:
            key, _, value = option.partition("=")
            if key in POOLINGS:
                chosen["pooling"] = key
            elif key == "int8":
                chosen["int8"] = True
            else:
                chosen[key] = int(value) if key == "max_tokens" else value
        if name == PACKAGED and chosen:
            what = "holds int8 weights already" if "int8" in chosen else "knows its pooling and longest text"
            raise ConfigurationError(f"the packaged {PACKAGED} {what}: leave @{'@'.join(options)} out")
        if name != PACKAGED:
            path = Path(name).expanduser()
            if name.startswith(("/", ".", "~")) or path.is_dir():
                name = str(Path(os.path.abspath(path)))
            elif not _HUB_ID.fullmatch(name):
                raise ConfigurationError(
                    f"local:{spelled} is neither a folder, nor a hub id such as owner/name, nor the packaged "
                    f"model {PACKAGED}"
                )
        return cls(name=name, **chosen)

    def __str__(self) -> str:
        parts = [self.name, self.pooling, "int8" if self.int8 else None]
        parts.append(f"max_tokens={self.max_tokens}" if self.max_tokens else None)
        parts.append(f"revision={self.revision}" if self.revision else None)
        return "@".join(part for part in parts if part)

    def files(self) -> ModelFiles:
        """The encoder's files, fetched from the hub if need be."""
        if self.name == PACKAGED:
            return packaged_files()
        folder = Path(self.name)
        if not folder.is_absolute():
            from omop_emb.providers.hub import hub_folder

            folder = hub_folder(self.name, revision=self.revision)
        return folder_files(folder, pooling=self.pooling, max_tokens=self.max_tokens, name=self.name)


class LocalProvider:
    """A folder or hub model in this process; two of them, with a comma between, for the two roles.

    Args:
        model: ENCODER, or DOCUMENT_ENCODER,QUERY_ENCODER; see EncoderName.
        threads: how many batches are computed at once, each on one thread; None is one per CPU.
    """

    name = "local"

    def __init__(self, model: str, *, threads: int | None = None) -> None:
        encoders = [EncoderName.parse(part) for part in model.split(",")]
        if len(encoders) > 2:
            raise ConfigurationError(f"local:{model} names more than two encoders")
        self.model = ",".join(map(str, encoders))
        self.tasks: dict[EmbeddingRole, str] = {}
        self.limits = Limits(
            batch_texts=256,
            in_flight=threads or processors(),
            query_timeout_seconds=60.0,
            bulk_timeout_seconds=3600.0,
        )
        self._encoders = (_Encoder(encoders[0]), _Encoder(encoders[-1]))
        if len(encoders) == 1:
            self._encoders = (self._encoders[0], self._encoders[0])

    def embed_batch(self, texts: Sequence[str], role: EmbeddingRole, *, timeout_seconds: float) -> Answer:
        """Embed texts; one longer than the model's longest is cut by its tokenizer."""
        return self._encoder(role).embed(texts)

    def identity(self, *, timeout_seconds: float) -> Identity:
        """Hash of weights, tokenizer, pooling and longest text; of both encoders if there are two."""
        files = [encoder.whole_files() for encoder in dict.fromkeys(self._encoders)]
        dimensions = {entry.dimensions for entry in files}
        return Identity(
            revision="+".join(entry.revision for entry in files),
            dimensions=dimensions.pop() if len(dimensions) == 1 else None,
            suggested_prefixes={
                role: prompt
                for role in EmbeddingRole
                if (prompt := self._encoder(role).files().prompts.get(role)) is not None
            },
        )

    def _encoder(self, role: EmbeddingRole) -> _Encoder:
        return self._encoders[0 if role is EmbeddingRole.DOCUMENT else 1]


class _Encoder:
    """One ONNX model with its tokenizer, loaded at the first use."""

    def __init__(self, name: EncoderName) -> None:
        self._name = name
        self._lock = threading.RLock()
        self._files: ModelFiles | None = None
        self._session: Any = None
        self._tokenizer: Any = None
        self._pooling: str | None = None

    def files(self) -> ModelFiles:
        with self._lock:
            if self._files is None:
                self._files = self._name.files()
            return self._files

    def whole_files(self) -> ModelFiles:
        """The files, loaded once unless their hash is known: no space is to bear that of a damaged one."""
        if self._name.name != PACKAGED:
            self._load()
        return self.files()

    def embed(self, texts: Sequence[str]) -> Answer:
        self._load()
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        lengths = np.array([len(encoding.ids) for encoding in encodings])
        order = np.argsort(lengths, kind="stable")
        parts: list[Matrix] = []
        for start in range(0, len(texts), _ROWS_PER_RUN):
            parts.append(self._run([encodings[index] for index in order[start : start + _ROWS_PER_RUN]]))
        vectors = np.empty((len(texts), parts[0].shape[1]), dtype=np.float32)
        vectors[order] = np.concatenate(parts)
        vectors[lengths == 0] = 0  # of a text without a token only the padding was pooled
        return Answer(vectors, tokens=int(lengths.sum()))

    def _run(self, encodings: Sequence[Any]) -> Matrix:
        longest = max(len(encoding.ids) for encoding in encodings)
        shape = (len(encodings), max(longest, 1))
        ids = np.full(shape, self.files().pad_token, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding.ids)] = encoding.ids
            mask[row, : len(encoding.ids)] = 1
        every = {
            "input_ids": ids,
            "attention_mask": mask,
            "token_type_ids": np.zeros(shape, dtype=np.int64),
            "position_ids": np.maximum(mask.cumsum(axis=1) - 1, 0),
        }
        try:
            output = self._session.run([self._output], {name: every[name] for name in self._inputs})[0]
        except Exception as error:
            # onnxruntime raises classes of its own for each status; the message could quote the input. One
            # text may be to blame, such as one with a token that the weights do not know.
            raise TextRejectedError(
                f"local:{self._name}: onnxruntime fails on it ({type(error).__name__})"
            ) from None
        if output.shape[:-1] != (shape if self._pooling else shape[:1]):
            raise InvalidAnswerError(
                f"local:{self._name} answers an output of shape {output.shape} for {shape[0]} texts of "
                f"{shape[1]} tokens; export it for feature-extraction"
            )
        return output if self._pooling is None else _pool(output, mask, self._pooling)

    def _load(self) -> None:
        with self._lock:
            if self._session is not None:
                return
            files = self.files()
            try:
                import onnxruntime
                from tokenizers import Tokenizer
            except ImportError:
                raise MissingExtraError(f"the model local:{self._name}", "local") from None
            weights = files.weights
            if self._name.int8:
                from omop_emb.providers.quantize import quantized

                weights = quantized(weights, files.revision)
            try:
                tokenizer = Tokenizer.from_file(str(files.tokenizer))
                session = onnxruntime.InferenceSession(
                    str(weights), _session_options(onnxruntime), providers=["CPUExecutionProvider"]
                )
            except Exception as error:
                raise ConfigurationError(
                    f"the files of local:{self._name} cannot be loaded ({type(error).__name__}): "
                    f"is {weights} a whole ONNX file, and {files.tokenizer.name} of this model?"
                ) from None
            tokenizer.enable_truncation(files.max_tokens)
            tokenizer.no_padding()
            self._inputs = [entry.name for entry in session.get_inputs()]
            unknown = set(self._inputs) - {"input_ids", "attention_mask", "token_type_ids", "position_ids"}
            if unknown:
                raise ConfigurationError(
                    f"{weights} wants {', '.join(sorted(unknown))}, for which omop-emb has no value; "
                    "export it for feature-extraction"
                )
            self._output, self._pooling = _output(session, files, str(self._name))
            self._tokenizer, self._session = tokenizer, session


def _session_options(onnxruntime: Any) -> Any:
    options = onnxruntime.SessionOptions()
    # One thread a run, several runs at once: faster than several threads in one run, which wait spinning.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options


def _output(session: Any, files: ModelFiles, name: str) -> tuple[str, str | None]:
    """Which output to read, and how to pool it; None for one that is a vector a text already."""
    ranks = {entry.name: len(entry.shape) for entry in session.get_outputs()}
    tokens = [output for output, rank in ranks.items() if rank == 3]
    whole = [output for output, rank in ranks.items() if rank == 2]
    if "sentence_embedding" in whole and (files.pooling is None or not files.plain or not tokens):
        return "sentence_embedding", None
    if not files.plain:
        raise ConfigurationError(
            f"local:{name} has layers after pooling (modules.json) that its ONNX file does not hold; use an "
            "export with the output sentence_embedding"
        )
    if not tokens:
        raise ConfigurationError(f"the ONNX file of local:{name} has no output of one vector a token")
    if files.pooling is None:
        raise ConfigurationError(
            f"local:{name} does not say how it pools; look in its card, then name it "
            f"local:{name}@mean, @cls, @max or @last"
        )
    preferred = [output for output in ("last_hidden_state", "token_embeddings") if output in tokens]
    return (preferred or tokens)[0], files.pooling


def _pool(hidden: Matrix, mask: np.ndarray[Any, np.dtype[np.int64]], pooling: str) -> Matrix:
    """(n, d) from the (n, tokens, d) of a transformer, over the tokens that the mask lets through."""
    if pooling == "cls":
        first: Matrix = hidden[:, 0]
        return first
    if pooling == "last":
        last = mask.shape[1] - 1 - np.argmax(mask[:, ::-1], axis=1)
        final: Matrix = hidden[np.arange(len(hidden)), last]
        return final
    if pooling == "max":
        pooled: Matrix = np.where(mask[..., None] > 0, hidden, -np.inf).max(axis=1)
        return pooled
    weights = mask.astype(np.float32) / np.maximum(mask.sum(axis=1, keepdims=True), 1)
    mean: Matrix = np.matmul(weights[:, None, :].astype(np.float32), hidden)[:, 0]
    return mean
