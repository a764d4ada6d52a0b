"""Tuning records: what a model is tuned on, the plan of a run, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omop_emb.embeddings.tuning.pair_recall import PairRecall
from omop_emb.mapping.training.pair_sources import VOCABULARY_SOURCES


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What a model is tuned on, and how.

    Attributes:
        base: the model to begin with, as in local:BASE: a packaged one's name or a folder.
        vocabulary: which pairs of the loaded vocabulary, of VOCABULARY_SOURCES; () for none.
        sites: whose approvals are learned from.
        pairs: files of pairs, see pair_sources.file_pairs().
        without: files whose texts are evaluated: no pair has one of them, in whatever column.
        most_pairs: of more, a sample is taken.
        hard_negatives: whether names that differ in a strength, side or specimen are added to the batches.
        augment: whether texts get typing errors, other case, abbreviations and lost words.
        held_out_share: of the pairs, by concept, 0 to 1: to compare models on, and to stop early.
        most_held_out: of pairs.
        pool: among so many names the pairs held out are ranked.
        epochs: how often each pair is seen at most.
        batch_pairs: pairs in a batch.
        learning_rate: the highest.
        document_prefix: goes before each name.
        query_prefix: goes before each text.
        seed: of order and augmentation.
        threads: of the processor; None takes all that there are.
        device: such as "cpu" or "cuda".
    """

    base: str = "all-MiniLM-L6-v2"
    vocabulary: Sequence[str] = VOCABULARY_SOURCES
    sites: Sequence[str] = ()
    pairs: Sequence[str | Path] = ()
    without: Sequence[str | Path] = ()
    most_pairs: int = 200_000
    hard_negatives: bool = False
    augment: bool = False
    held_out_share: float = 0.05
    most_held_out: int = 500
    pool: int = 3_000
    epochs: int = 2
    batch_pairs: int = 96
    learning_rate: float = 3e-5
    document_prefix: str = ""
    query_prefix: str = ""
    seed: int = 0
    threads: int | None = None
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class TuningPlan:
    """What a run would do.

    Attributes:
        pairs: to learn from.
        held_out: pairs to compare models on.
        left_out: pairs whose text is evaluated.
        steps: at most.
        hours: for all steps, measured on a few of them.
    """

    pairs: int
    held_out: int
    left_out: int
    steps: int
    hours: float


@dataclass(frozen=True, kw_only=True)
class TunedModel:
    """A tuned model, and what it finds of the pairs held out.

    Attributes:
        folder: its weights as floats; `folder`/int8 has them stored in 8 bits.
        best_step: of how many the weights are; later ones ranked no better.
        plan: what was learned from.
        before: of the model that was tuned.
        after: of the tuned model, as floats.
        after_int8: of the tuned model stored in 8 bits.
    """

    folder: Path
    best_step: int
    plan: TuningPlan
    before: PairRecall
    after: PairRecall
    after_int8: PairRecall
