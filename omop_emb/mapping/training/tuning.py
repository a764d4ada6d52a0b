"""Tuning: a local model of one's own, trained on the vocabulary, a site's approvals and files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from omop_emb import machine
from omop_emb.database.engine import driver_connection, readable_errors
from omop_emb.embeddings.tuning.pair_recall import PairRecall, name_pool, pair_recall
from omop_emb.embeddings.tuning.training_pairs import TrainingPair, digest_of, held_out_split
from omop_emb.errors import InputError, MissingExtraError, checked_keywords
from omop_emb.mapping.training.augmentation import augmented
from omop_emb.mapping.training.hard_negatives import with_hard_negatives
from omop_emb.mapping.training.pair_sources import (
    approved_pairs,
    evaluated_keys,
    file_pairs,
    usable_pairs,
    vocabulary_pairs,
)
from omop_emb.mapping.training.tuning_records import TunedModel, Tuning, TuningPlan
from omop_emb.providers.local import EncoderSpec, LocalProvider
from omop_emb.records import EmbeddingRole, counted
from omop_emb.vectors import unit_rows

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    from omop_emb.arrays import Vectors
    from omop_emb.embeddings.tuning.torch_encoder import TorchEncoder
    from omop_emb.embeddings.tuning.tuning_progress import Progress

_LEAST_PAIRS = 20
_TIMEOUT_SECONDS = 3600.0


@dataclass(frozen=True, kw_only=True)
class _Data:
    learned: list[TrainingPair]
    held_out: list[TrainingPair]
    left_out: int
    pool: list[str] = field(default_factory=list)


@checked_keywords
def tune(
    session: Session | Connection | None,
    folder: str | Path,
    tuning: Tuning | None = None,
    *,
    estimate_only: bool = False,
    restart: bool = False,
    on_plan: Callable[[TuningPlan], None] = lambda _: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> TunedModel | TuningPlan:
    """Tune a model and write it as a folder for `local:FOLDER`; with `estimate_only`, only plan it.

    A run that was killed goes on where its checkpoint is, in FOLDER.run, if it is called with the same
    arguments. The session is in no transaction while it trains, if it was in none before.

    Args:
        session: of the database with vocabulary and approvals.
        folder: where the model will be; it must not exist.
        tuning: what is learned, and how.
        estimate_only: write nothing.
        restart: begin again, whatever checkpoint there is.
        on_plan: gets the plan before training begins.
        on_progress: gets each step.

    Raises:
        MissingExtraError: torch or onnx is not installed.
        InputError: the folder exists, or there are too few pairs.
        ConfigurationError: the model cannot be tuned, or the checkpoint is of another run.
    """
    tuning, folder = tuning or Tuning(), Path(folder)
    torch_threads(tuning.threads)
    if folder.exists():
        raise InputError(f"{folder} already exists: name a new folder")
    if not folder.absolute().parent.is_dir():
        raise InputError(f"there is no folder {folder.absolute().parent}; create it first")
    from omop_emb.embeddings.tuning.torch_encoder import TorchEncoder
    from omop_emb.embeddings.tuning.tuning_run import Recipe, TuningRun

    files = EncoderSpec.parse(tuning.base).files()
    recipe = Recipe(
        epochs=tuning.epochs,
        batch_pairs=tuning.batch_pairs,
        learning_rate=tuning.learning_rate,
        document_prefix=tuning.document_prefix,
        query_prefix=tuning.query_prefix,
        seed=tuning.seed,
    )
    encoder = TorchEncoder(files, f"local:{tuning.base}", max_tokens=recipe.max_tokens, device=tuning.device)
    data = _read(session, tuning, encoder)
    work = folder.with_name(f"{folder.name}.run")
    if restart:
        shutil.rmtree(work, ignore_errors=True)

    def score() -> float:
        return _recall(encoder.embed, tuning, data).mrr

    run = TuningRun(
        encoder,
        data.learned,
        recipe,
        score=score,
        folder=work,
        digest=digest_of((recipe, files.revision, tuning.augment, *data.learned, *data.held_out)),
        augment=augmented if tuning.augment else None,
    )
    plan = TuningPlan(
        pairs=len(data.learned),
        held_out=len(data.held_out),
        left_out=data.left_out,
        steps=run.steps,
        hours=run.estimate_seconds() / 3600,
    )
    on_plan(plan)
    if estimate_only:
        return plan
    work.mkdir(mode=0o700, exist_ok=True)
    best_step = run.run(on_progress)
    tuned = _write(folder, tuning, encoder, data, plan, best_step)
    shutil.rmtree(work, ignore_errors=True)
    return tuned


def torch_threads(threads: int | None) -> None:
    """Let torch use so many threads; MissingExtraError where torch or onnx is not installed."""
    try:
        import onnx  # noqa: F401 - read before the vocabulary is, so that this is said at once
        import torch
    except ImportError:
        raise MissingExtraError("omop-emb tune", "train") from None
    torch.set_num_threads(threads or machine.processors())


def _read(session: Session | Connection | None, tuning: Tuning, encoder: TorchEncoder) -> _Data:
    found = list[TrainingPair]()
    if session is not None:
        with readable_errors():
            connection = driver_connection(session)
            if tuning.vocabulary:
                found += vocabulary_pairs(connection, tuning.vocabulary)
            for site in tuning.sites:
                found += approved_pairs(connection, site)
            for path in tuning.pairs:
                found += file_pairs(connection, path)
        session.rollback()  # no transaction is open while it trains
    usable, left_out = usable_pairs(found, evaluated_keys(tuning.without), tuning.most_pairs)
    if len(usable) < _LEAST_PAIRS:
        raise InputError(
            f"{counted(len(usable), 'usable pair')}, and training needs at least {_LEAST_PAIRS}: load a "
            "vocabulary with synonyms, or give files with --pairs"
        )
    learned, held_out = held_out_split(usable, tuning.held_out_share, tuning.most_held_out)
    if tuning.hard_negatives:
        learned = with_hard_negatives(
            learned, lambda names: encoder.embed([tuning.document_prefix + name for name in names])
        )
    return _Data(
        learned=learned,
        held_out=held_out,
        left_out=left_out,
        pool=name_pool(held_out, learned, tuning.pool),
    )


def _recall(embed: Callable[[Sequence[str]], Vectors], tuning: Tuning, data: _Data) -> PairRecall:
    return pair_recall(
        lambda texts: embed([tuning.query_prefix + text for text in texts]),
        lambda names: embed([tuning.document_prefix + name for name in names]),
        data.held_out,
        data.pool,
    )


def _recall_of(model: str, tuning: Tuning, data: _Data) -> PairRecall:
    """What a local model finds, embedded as searches embed."""
    provider = LocalProvider(model)
    return _recall(
        lambda texts: unit_rows(
            np.asarray(
                provider.embed_batch(texts, EmbeddingRole.QUERY, timeout_seconds=_TIMEOUT_SECONDS).vectors
            )
        )[0],
        tuning,
        data,
    )


def _write(
    folder: Path, tuning: Tuning, encoder: TorchEncoder, data: _Data, plan: TuningPlan, best_step: int
) -> TunedModel:
    from omop_emb.embeddings.tuning.onnx_module import read_graph
    from omop_emb.embeddings.tuning.tuned_folder import INT8_FOLDER, write_tuned_folder

    files = EncoderSpec.parse(tuning.base).files()
    weights = {name: value.numpy() for name, value in encoder.graph.weights().items()}
    card = _card(tuning, plan, best_step)
    write_tuned_folder(folder, files, read_graph(files.weights), weights, card)
    return TunedModel(
        folder=folder,
        best_step=best_step,
        plan=plan,
        before=_recall_of(tuning.base, tuning, data),
        after=_recall_of(str(folder.absolute()), tuning, data),
        after_int8=_recall_of(str(folder.absolute() / INT8_FOLDER), tuning, data),
    )


def _card(tuning: Tuning, plan: TuningPlan, best_step: int) -> str:
    """What the folder's README.md says."""
    settings = "\n".join(
        f"- {name}: {value}" for name, value in asdict(tuning).items() if name not in ("pairs", "without")
    )
    return (
        f"# A model tuned by omop-emb from {tuning.base}\n\n"
        f"Trained on {counted(plan.pairs, 'pair')} of texts and names of OMOP concepts, {best_step} steps of "
        f"{plan.steps}.\n\n{settings}\n\n"
        "What it learned from has licences of its own: a model that was trained on SNOMED CT's synonyms, or "
        "on a hospital's terms, stays where these may be.\n"
    )
