"""Build reports: progress while a build runs, and counts of what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from omop_emb.indexing.difference import BuildPlan
from omop_emb.records import Fingerprint, IndexType


class Phase(Enum):
    """What a build, an export or an import is doing."""

    PLAN = "comparing vocabulary and space"
    EMBED = "embedding"
    JOBS = "waiting for batch jobs"
    WAIT = "waiting for other builders"
    WRITE_FILE = "writing the file"
    READ_FILE = "reading the file"
    COPY = "copying to Qdrant"
    WAIT_FOR_QDRANT = "waiting for Qdrant's index"
    FINISH = "building the index"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build, export or import is."""

    phase: Phase
    done: int = 0  # distinct texts that all builders have embedded since this one began
    total: int = 0  # distinct texts to embed when this one began
    characters: int = 0  # of the texts done; a better measure than their number
    total_characters: int = 0
    seconds: float = 0.0  # since embedding began
    skipped: int = 0  # texts that needed no embedding
    fraction: float | None = None  # of the phase, 0 to 1; None if it is not known

    @property
    def texts_per_second(self) -> float | None:
        """The rate at which what is left takes remaining_seconds; None before the first text.

        Longer texts come first, so texts done in a second say too little about those that follow.
        """
        if not self.remaining_seconds:
            return None
        return (self.total - self.done) / self.remaining_seconds

    @property
    def remaining_seconds(self) -> float | None:
        """How long embedding will still take, by characters; None before the first text."""
        if not self.characters or self.done >= self.total:
            return None
        return self.seconds * (self.total_characters - self.characters) / self.characters


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True)
class BuildReport(BuildPlan):
    """What a build planned, and what it then did; with `is_dry_run`, what it would do."""

    space_name: str
    fingerprint: Fingerprint
    index_type: IndexType
    embedded: int  # rows that this builder embedded and wrote
    embedded_texts: int  # distinct texts that this builder embedded
    failed: int  # distinct texts that the model refused; the space lacks them
    seconds: float
    index_made: bool  # whether the HNSW index was created
    is_active: bool  # whether readers use the space
    replaced_space: str | None = None  # that readers used until then
    is_dry_run: bool = False
