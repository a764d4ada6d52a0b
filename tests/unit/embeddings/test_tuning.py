"""Tuning a local model: the graph in torch, its weights written back, the loss, and runs that are killed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omop_emb.embeddings.tuning.pair_recall import name_pool, pair_recall
from omop_emb.embeddings.tuning.training_pairs import TrainingPair, batches, held_out_split
from omop_emb.embeddings.tuning.tuning_progress import Progress
from omop_emb.errors import ConfigurationError
from omop_emb.providers.local import LocalProvider
from omop_emb.providers.model_folder import ModelFiles, folder_files, packaged_files
from omop_emb.records import EmbeddingRole
from omop_emb.vectors import unit_rows
from tests.tiny_models import spelling_folder, trainable_folder

torch = pytest.importorskip("torch", reason="the extra train is not installed")

from omop_emb.embeddings.tuning.contrastive_loss import contrastive_loss, no_negatives  # noqa: E402 - needs torch
from omop_emb.embeddings.tuning.onnx_module import read_graph  # noqa: E402 - needs torch
from omop_emb.embeddings.tuning.torch_encoder import TorchEncoder  # noqa: E402 - needs torch
from omop_emb.embeddings.tuning.tuned_folder import write_tuned_folder  # noqa: E402 - needs torch
from omop_emb.embeddings.tuning.tuning_run import Recipe, TuningRun  # noqa: E402 - needs torch

TEXTS = ["heart attack", "Type 2 diabetes mellitus", "a", "fracture of the left femur, closed", "CO₂ 5 %"]


def pair(text: str, name: str, group: str | None = None, negative: str = "") -> TrainingPair:
    return TrainingPair(text=text, name=name, group=group or name, negative=negative)


PAIRS = [pair(f"local{number} term", f"standard{number} name") for number in range(60)]


def encoder_of(files: ModelFiles) -> TorchEncoder:
    torch.set_num_threads(1)
    return TorchEncoder(files, "local:test", max_tokens=64)


def tiny(folder: Path) -> ModelFiles:
    texts = [text for one in PAIRS for text in (one.text, one.name)]
    return folder_files(trainable_folder(folder, texts))


def embedded(model: str, texts: Sequence[str]) -> Any:
    answer = LocalProvider(model, threads=1).embed_batch(texts, EmbeddingRole.QUERY, timeout_seconds=60)
    return unit_rows(np.asarray(answer.vectors, np.float32))[0]


def test_the_packaged_model_gives_the_same_vectors_in_torch() -> None:
    vectors = encoder_of(packaged_files()).embed(TEXTS)
    assert (vectors * embedded("all-MiniLM-L6-v2", TEXTS)).sum(1).min() > 0.9999


def test_changed_weights_give_the_same_vectors_in_the_written_folder(tmp_path: Path) -> None:
    files = packaged_files()
    encoder = encoder_of(files)
    with torch.no_grad():
        for weights in encoder.parameters():
            weights.mul_(1 + 0.02 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(1)))
    weights_by_name = {name: value.numpy() for name, value in encoder.graph.weights().items()}
    folder = tmp_path / "tuned"
    write_tuned_folder(folder, files, read_graph(files.weights), weights_by_name, "card")
    vectors = encoder.embed(TEXTS)
    assert (vectors * embedded("all-MiniLM-L6-v2", TEXTS)).sum(1).min() < 0.999
    assert (vectors * embedded(str(folder), TEXTS)).sum(1).min() > 0.9999
    assert (vectors * embedded(str(folder / "int8"), TEXTS)).sum(1).min() > 0.999
    sizes = [(one / "onnx" / "model.onnx").stat().st_size for one in (folder, folder / "int8")]
    assert sizes[1] < sizes[0] / 3
    scales = {
        entry.name: tuple(entry.dims)
        for entry in read_graph(folder / "int8" / "onnx" / "model.onnx").graph.initializer
        if entry.name.endswith("_scale")
    }
    packaged = read_graph(files.weights).graph.initializer
    assert scales == {entry.name: tuple(entry.dims) for entry in packaged if entry.name.endswith("_scale")}
    assert abs(sizes[1] - files.weights.stat().st_size) < 200_000
    revisions = {folder_files(one).revision for one in (folder, folder / "int8")} | {files.revision}
    assert len(revisions) == 3
    assert folder_files(folder).max_tokens == files.max_tokens
    assert not list(tmp_path.glob("*.part"))


def test_a_graph_with_an_unknown_operator_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the operators Pad"):
        encoder_of(folder_files(spelling_folder(tmp_path / "model")))


def test_texts_of_one_concept_are_never_each_others_negatives() -> None:
    batch = [
        pair("MI", "Myocardial infarction"),
        pair("heart attack", "Myocardial infarction"),
        pair("mi", "Mitral insufficiency", negative="Myocardial infarction"),
        pair("fever", "Fever", negative="Hypothermia"),
    ]
    same = no_negatives(batch, "cpu").tolist()
    assert same[0] == [False, True, True, False, True, False]  # "MI" also means the other
    assert same[1] == [True, False, False, False, True, False]
    assert same[3] == [False, False, False, False, False, False]


def test_the_loss_is_the_cross_entropy_in_both_directions() -> None:
    texts = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    names = torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    same = torch.zeros(2, 3, dtype=torch.bool)
    loss = contrastive_loss(texts, names, torch.tensor([[1.0, 0.0]]), same, 1.0)
    e = np.exp
    rows = [-np.log(e(0.6) / (e(0.6) + e(0) + e(1))), -np.log(e(1) / (e(0.8) + e(1) + e(0)))]
    columns = [-np.log(e(0.6) / (e(0.6) + e(0.8))), -np.log(e(1) / (e(0) + e(1)))]
    assert float(loss) == pytest.approx((np.mean(rows) + np.mean(columns)) / 2, rel=1e-5)
    same[0, 2] = True
    rows[0] = -np.log(e(0.6) / (e(0.6) + e(0)))
    loss = contrastive_loss(texts, names, torch.tensor([[1.0, 0.0]]), same, 1.0)
    assert float(loss) == pytest.approx((np.mean(rows) + np.mean(columns)) / 2, rel=1e-5)


def test_batches_hold_each_pair_once_and_depend_on_seed_and_epoch_alone() -> None:
    first = batches(PAIRS, 16, 0, 7)
    assert first == batches(PAIRS, 16, 0, 7)
    assert first != batches(PAIRS, 16, 1, 7)
    assert sorted(one.text for batch in first for one in batch) == sorted(one.text for one in PAIRS)


def test_whole_concepts_are_held_out() -> None:
    pairs = [pair(f"text {number}", f"name {number % 10}") for number in range(100)]
    learned, held_out = held_out_split(pairs, 0.2, 500)
    assert len(held_out) == 20
    assert len(learned) == 80
    assert not {one.group for one in learned} & {one.group for one in held_out}
    assert held_out_split(pairs[::-1], 0.2, 500)[1] == held_out[::-1]


def test_recall_counts_the_best_name_of_the_concept_and_ties_against_it() -> None:
    pairs = [pair("a", "A"), pair("b", "B")]
    vectors = {"a": [1, 0], "A": [1, 0], "b": [0, 1], "B": [1, 0], "C": [0, 1], "D": [1, 0]}

    def embed(texts: Sequence[str]) -> Any:
        return np.array([vectors[text] for text in texts], np.float32)

    recall = pair_recall(embed, embed, pairs, name_pool(pairs, [pair("x", "C"), pair("y", "D")], 4))
    assert (recall.recall_at_1, recall.recall_at_10, recall.pool) == (0, 1, 4)
    assert recall.mrr == pytest.approx((1 / 3 + 1 / 4) / 2)


class KilledError(Exception):
    """Stands for the end of the process."""


def run_of(encoder: TorchEncoder, folder: Path, digest: str = "same") -> TuningRun:
    folder.mkdir(exist_ok=True)

    def score() -> float:
        return pair_recall(encoder.embed, encoder.embed, PAIRS[:20], name_pool(PAIRS[:20], PAIRS, 60)).mrr

    recipe = Recipe(epochs=6, batch_pairs=16, learning_rate=3e-3, evaluations=4)
    return TuningRun(encoder, PAIRS, recipe, score=score, folder=folder, digest=digest)


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    files = tiny(tmp_path / "model")
    whole = encoder_of(files)
    scores = list[float]()

    def note(progress: Progress) -> None:
        if progress.score is not None:
            scores.append(progress.score)

    best = run_of(whole, tmp_path / "whole").run(note)
    assert scores[-1] > scores[0]

    def kill(progress: Progress) -> None:
        if progress.step == 10:
            raise KilledError

    with pytest.raises(KilledError):
        run_of(encoder_of(files), tmp_path / "killed").run(kill, save_seconds=0)
    again, steps = encoder_of(files), list[int]()
    assert run_of(again, tmp_path / "killed").run(lambda progress: steps.append(progress.step)) == best
    assert steps[0] == 11
    for name, value in whole.graph.weights().items():
        assert torch.equal(value, again.graph.weights()[name])


def test_the_checkpoint_of_another_run_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    files, folder = tiny(tmp_path / "model"), tmp_path / "run"
    run_of(encoder_of(files), folder).run(lambda _: None)
    with pytest.raises(ConfigurationError, match="other pairs or settings"):
        run_of(encoder_of(files), folder, digest="other").run(lambda _: None)
    (folder / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(ConfigurationError, match="--restart"):
        run_of(encoder_of(files), folder).run(lambda _: None)


def test_an_estimate_changes_no_weights(tmp_path: Path) -> None:
    encoder = encoder_of(tiny(tmp_path / "model"))
    before = encoder.graph.weights()
    assert run_of(encoder, tmp_path / "run").estimate_seconds() > 0
    assert all(torch.equal(value, encoder.graph.weights()[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in encoder.parameters())
