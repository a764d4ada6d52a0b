"""Torch encoder: a local model's tokenizer, graph and pooling, with gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from omop_emb.arrays import Vectors
from omop_emb.embeddings.tuning.onnx_module import OnnxModule, read_graph
from omop_emb.embeddings.tuning.onnx_operators import Tensor
from omop_emb.errors import ConfigurationError
from omop_emb.providers.local import choose_output
from omop_emb.providers.model_folder import ModelFiles
from omop_emb.safe_files.foreign_errors import foreign_errors

# Matrix products of a few sizes only, so that no time goes into preparing others.
_PAD_TO = 16
_TEXTS_PER_RUN = 64
_INPUTS = {"input_ids", "attention_mask", "token_type_ids", "position_ids"}


class TorchEncoder(torch.nn.Module):  # type: ignore[misc] # torch has no types here
    """Texts to unit vectors, as the local provider embeds them; longer texts are cut at `max_tokens`."""

    def __init__(self, files: ModelFiles, label: str, *, max_tokens: int, device: str = "cpu") -> None:
        super().__init__()
        from tokenizers import Tokenizer

        model = read_graph(files.weights)
        ranks = {entry.name: len(entry.type.tensor_type.shape.dim) for entry in model.graph.output}
        output, self._pooling = choose_output(ranks, files, label)
        self._inputs = [entry.name for entry in model.graph.input if entry.name in _INPUTS]
        self.graph, self.device, self._pad = (
            OnnxModule(model, output, label).to(device),
            device,
            files.pad_token,
        )
        with foreign_errors(files.tokenizer, kind=ConfigurationError):
            self._tokenizer = Tokenizer.from_file(str(files.tokenizer))
        self._tokenizer.enable_truncation(min(max_tokens, files.max_tokens))
        self._tokenizer.no_padding()

    def forward(self, texts: Sequence[str]) -> Tensor:
        """(n, dimensions) rows of unit length, with gradients unless they are off."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        longest = max(max(len(encoding.ids) for encoding in encodings), 1)
        shape = (len(encodings), -(-longest // _PAD_TO) * _PAD_TO)
        ids, mask = np.full(shape, self._pad, np.int64), np.zeros(shape, np.int64)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding.ids)] = encoding.ids
            mask[row, : len(encoding.ids)] = 1
        values = {
            "input_ids": ids,
            "attention_mask": mask,
            "token_type_ids": np.zeros(shape, np.int64),
            "position_ids": np.maximum(mask.cumsum(axis=1) - 1, 0),
        }
        inputs = {name: torch.from_numpy(values[name]).to(self.device) for name in self._inputs}
        pooled = self._pool(self.graph(inputs), torch.from_numpy(mask).to(self.device))
        return torch.nn.functional.normalize(pooled, dim=1)

    def _pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """(n, d) from the (n, tokens, d) of a transformer, over the tokens that are not masked."""
        if self._pooling is None:
            return hidden
        if self._pooling == "cls":
            return hidden[:, 0]
        if self._pooling == "last":
            return hidden[torch.arange(len(hidden)), mask.sum(1) - 1]
        weights = mask.unsqueeze(-1)
        if self._pooling == "max":
            return hidden.masked_fill(weights == 0, -torch.inf).amax(1)
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """(n, dimensions) float32 rows of unit length, without gradients."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        parts: list[Any] = []
        with torch.no_grad():
            for start in range(0, len(texts), _TEXTS_PER_RUN):
                chosen = order[start : start + _TEXTS_PER_RUN]
                parts.append(self([texts[index] for index in chosen]).cpu().numpy())
        vectors: Vectors = np.empty((len(texts), parts[0].shape[1]), np.float32)
        vectors[order] = np.concatenate(parts)
        return vectors
