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
    FINISH = "building the index"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is.

    Attributes:
        phase: what it is doing.
        done, total: distinct texts embedded by this builder, and to be embedded by all builders.
        characters, total_characters: of these texts; a better measure of what is left.
        seconds: since embedding began.
        skipped: texts that needed no embedding.
        fraction: of the phase, 0 to 1; None if it is not known.
    """

    phase: Phase
    done: int = 0
    total: int = 0
    characters: int = 0
    total_characters: int = 0
    seconds: float = 0.0
    skipped: int = 0
    fraction: float | None = None

    @property
    def texts_per_second(self) -> float:
        """The rate since embedding began; 0 before the first text."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def remaining_seconds(self) -> float | None:
        """How long embedding will still take, by characters; None before the first text."""
        if not self.characters:
            return None
        return self.seconds * (self.total_characters - self.characters) / self.characters


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True)
class BuildReport(BuildPlan):
    """What a build planned, and what it then did; with `is_dry_run`, what it would do.

    Attributes:
        space_name: the space.
        fingerprint: its model, prefixes and dimensions.
        index_type: FLAT or HNSW.
        embedded: rows that this builder embedded and wrote.
        embedded_texts: distinct texts that this builder embedded.
        failed: distinct texts that the model refused; the space lacks them.
        seconds: how long the build took.
        index_made: whether the HNSW index was created.
        is_active: whether readers use this space.
        is_dry_run: whether nothing was done.
    """

    space_name: str
    fingerprint: Fingerprint
    index_type: IndexType
    embedded: int
    embedded_texts: int
    failed: int
    seconds: float
    index_made: bool
    is_active: bool
    is_dry_run: bool = False
