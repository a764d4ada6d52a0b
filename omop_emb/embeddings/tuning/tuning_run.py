"""Tuning run: the training loop, which can be killed at any moment and goes on where it was saved."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omop_emb.embeddings.tuning.contrastive_loss import contrastive_loss, no_negatives
from omop_emb.embeddings.tuning.torch_encoder import TorchEncoder
from omop_emb.embeddings.tuning.training_pairs import TrainingPair, batches
from omop_emb.embeddings.tuning.tuning_progress import Progress
from omop_emb.errors import ConfigurationError, InputError
from omop_emb.safe_files.atomic_file import atomic_write
from omop_emb.safe_files.foreign_errors import foreign_errors

_WARM_UP_SHARE = 0.1
_WEIGHT_DECAY = 0.01
_MOST_GRADIENT = 1.0
_STEPS_TIMED = 3

Augment = Callable[[str, np.random.Generator], str]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained; the defaults are for all-MiniLM-L6-v2.

    Attributes:
        epochs: how often each pair is seen, if nothing stops it earlier.
        batch_pairs: each text is compared with the names of its batch.
        learning_rate: the highest, reached after a tenth of the steps; then it falls in a line to 0.
        scale: by which cosines are multiplied.
        max_tokens: texts are cut there while training.
        evaluations: how often the pairs held out are ranked, at equal distances.
        patience: it stops after so many evaluations without a better one.
        document_prefix: goes before each name.
        query_prefix: goes before each text.
        seed: of the order of pairs and of augmentation.
    """

    epochs: int = 2
    batch_pairs: int = 96
    learning_rate: float = 3e-5
    scale: float = 20.0
    max_tokens: int = 64
    evaluations: int = 8
    patience: int = 3
    document_prefix: str = ""
    query_prefix: str = ""
    seed: int = 0


@dataclass
class _State:
    """What a checkpoint holds beside weights and optimizer."""

    step: int = 0
    best_score: float = -1.0
    best_step: int = 0
    evaluations_since: int = 0
    best_weights: list[Any] = field(default_factory=list)


class TuningRun:
    """A run over pairs; `run()` begins, or goes on from the checkpoint in `folder`.

    Args:
        encoder: whose weights are trained.
        pairs: to learn from.
        recipe: how.
        score: the mean reciprocal rank of the pairs held out, 0 to 1, with the encoder's present weights.
        folder: where the checkpoint is.
        digest: of pairs, model and settings: a checkpoint of another run is refused.
        augment: changes texts, anew in each epoch; None leaves them.
    """

    def __init__(
        self,
        encoder: TorchEncoder,
        pairs: Sequence[TrainingPair],
        recipe: Recipe,
        *,
        score: Callable[[], float],
        folder: Path,
        digest: str,
        augment: Augment | None = None,
    ) -> None:
        self._encoder, self._pairs, self._recipe = encoder, pairs, recipe
        self._score, self._digest, self._augment = score, digest, augment
        self._checkpoint = folder / "checkpoint.pt"
        self._per_epoch = len(batches(pairs, recipe.batch_pairs, 0, recipe.seed))
        self.steps = recipe.epochs * self._per_epoch
        torch.manual_seed(recipe.seed)
        self._optimizer = torch.optim.AdamW(
            encoder.parameters(), lr=recipe.learning_rate, weight_decay=_WEIGHT_DECAY
        )
        self._state = _State()

    def estimate_seconds(self) -> float:
        """How long all steps will take, from a few that change nothing."""
        first = batches(self._pairs, self._recipe.batch_pairs, 0, self._recipe.seed)
        self._gradients(first[0])  # the first takes longer
        started = time.perf_counter()
        timed = list(itertools.islice(itertools.cycle(first), 1, 1 + _STEPS_TIMED))
        for batch in timed:
            self._gradients(batch)
        self._optimizer.zero_grad(set_to_none=True)
        return (time.perf_counter() - started) / len(timed) * self.steps

    def run(self, on_progress: Callable[[Progress], None], *, save_seconds: float = 300.0) -> int:
        """Train, keep the best weights in the encoder, and return the step that they are of.

        A checkpoint is written every `save_seconds` and at each evaluation.
        """
        state = self._state
        self._load()
        every = max(1, math.ceil(self.steps / self._recipe.evaluations))
        losses, since, saved = list[float](), time.perf_counter(), time.perf_counter()
        begun = state.step
        for batch in self._batches_from(state.step):
            if state.evaluations_since >= self._recipe.patience:
                break
            losses.append(self._step(batch))
            now = time.perf_counter()
            left = (now - since) / (state.step - begun) * (self.steps - state.step)
            progress = Progress(
                step=state.step, steps=self.steps, loss=float(np.mean(losses)), seconds_left=left
            )
            if state.step % every == 0 or state.step == self.steps:
                progress = replace(progress, score=self._evaluate())
                since += time.perf_counter() - now
                losses.clear()
            if progress.score is not None or now - saved >= save_seconds:
                self._save()
                saved = time.perf_counter()
            on_progress(progress)
        self._set_weights(state.best_weights)
        return state.best_step

    def _batches_from(self, step: int) -> Iterator[list[TrainingPair]]:
        recipe = self._recipe
        for epoch in range(step // self._per_epoch, recipe.epochs):
            ordered = batches(self._pairs, recipe.batch_pairs, epoch, recipe.seed)
            yield from ordered[max(step - epoch * self._per_epoch, 0) :]

    def _step(self, batch: Sequence[TrainingPair]) -> float:
        state, recipe = self._state, self._recipe
        warm = max(1, round(self.steps * _WARM_UP_SHARE))
        factor = min((state.step + 1) / warm, (self.steps - state.step) / max(1, self.steps - warm))
        for group in self._optimizer.param_groups:
            group["lr"] = recipe.learning_rate * factor
        loss = self._gradients(batch)
        if not math.isfinite(loss):
            raise InputError(
                f"the loss is not a number at step {state.step + 1}: try a lower --learning-rate, with "
                "--restart"
            )
        torch.nn.utils.clip_grad_norm_(self._encoder.parameters(), _MOST_GRADIENT)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        state.step += 1
        return loss

    def _gradients(self, batch: Sequence[TrainingPair]) -> float:
        recipe, change = self._recipe, self._augment
        random = np.random.default_rng((recipe.seed, self._state.step))
        texts = [recipe.query_prefix + (change(pair.text, random) if change else pair.text) for pair in batch]
        names = [recipe.document_prefix + pair.name for pair in batch]
        negatives = [recipe.document_prefix + pair.negative for pair in batch if pair.negative]
        same = no_negatives(batch, self._encoder.device)
        loss = contrastive_loss(
            self._encoder(texts),
            self._encoder(names),
            self._encoder(negatives) if negatives else None,
            same,
            recipe.scale,
        )
        loss.backward()
        return float(loss.detach())

    def _evaluate(self) -> float:
        state, score = self._state, self._score()
        state.evaluations_since += 1
        if score > state.best_score:
            state.best_score, state.best_step, state.evaluations_since = score, state.step, 0
            state.best_weights = [value.detach().clone() for value in self._encoder.parameters()]
        return score

    def _save(self) -> None:
        content = {
            "digest": self._digest,
            "state": vars(self._state),
            "weights": [value.detach() for value in self._encoder.parameters()],
            "optimizer": self._optimizer.state_dict(),
        }
        with atomic_write(self._checkpoint, is_private=True) as handle:
            torch.save(content, handle)

    def _load(self) -> None:
        if not self._checkpoint.exists():
            return
        with foreign_errors(self._checkpoint, "is damaged: start again with --restart", ConfigurationError):
            content = torch.load(self._checkpoint, map_location=self._encoder.device, weights_only=True)
        if content["digest"] != self._digest:
            raise ConfigurationError(
                f"{self._checkpoint} is from a run with other pairs or settings: use those again, or "
                "--restart"
            )
        self._set_weights(content["weights"])
        self._optimizer.load_state_dict(content["optimizer"])
        vars(self._state).update(content["state"])

    def _set_weights(self, weights: Sequence[Any]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self._encoder.parameters(), weights, strict=True):
                parameter.copy_(value)
