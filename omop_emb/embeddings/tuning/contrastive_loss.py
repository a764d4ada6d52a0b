"""Contrastive loss: each text should be nearest to its own name, among all names of its batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from omop_emb.embeddings.tuning.onnx_operators import Tensor
from omop_emb.embeddings.tuning.training_pairs import TrainingPair


def contrastive_loss(
    texts: Tensor, names: Tensor, negatives: Tensor | None, same: Tensor, scale: float
) -> Tensor:
    """The mean cross-entropy of scaled cosines, from texts to names and from names to texts.

    That is the multiple negatives ranking loss (Henderson and others 2017, arXiv:1705.00652), in both
    directions.

    Args:
        texts: (n, d), rows of unit length.
        names: (n, d), the name of each text.
        negatives: (m, d) further names that are compared with the texts; None for none.
        same: (n, n + m), what is no negative of a row, see no_negatives().
        scale: by which cosines are multiplied; 20 is a temperature of .05.
    """
    count = len(texts)
    rows = torch.arange(count, device=texts.device)
    documents = names if negatives is None else torch.cat([names, negatives])
    logits = (scale * texts @ documents.T).masked_fill(same, -torch.inf)
    back = (scale * names @ texts.T).masked_fill(same[:, :count].T, -torch.inf)
    entropy = torch.nn.functional.cross_entropy
    return (entropy(logits, rows) + entropy(back, rows)) / 2


def no_negatives(batch: Sequence[TrainingPair], device: str) -> Tensor:
    """(n, n + m) whether a document may not be a negative of a row's text: the first n are names.

    These are names of the same group, and of whatever else an equal text means, but for the row's own name;
    the last m are the negatives of the pairs that have one.
    """
    meant: dict[str, set[str]] = {}
    for pair in batch:
        meant.setdefault(pair.text.casefold(), set()).add(pair.group)
    named: dict[str, set[str]] = {}
    for pair in batch:
        named.setdefault(pair.name.casefold(), set()).add(pair.group)
    owners = [pair for pair in batch if pair.negative]
    result = torch.zeros(len(batch), len(batch) + len(owners), dtype=torch.bool)
    for row, pair in enumerate(batch):
        groups = meant[pair.text.casefold()]
        for column, other in enumerate(batch):
            is_same = other.group in groups or not groups.isdisjoint(named[other.name.casefold()])
            result[row, column] = column != row and is_same
        for column, other in enumerate(owners, len(batch)):
            result[row, column] = not groups.isdisjoint(named.get(other.negative.casefold(), ()))
    return result.to(device)
