"""What a build tells: how far it is, and in the end what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from omop_emb.indexing.difference import BuildPlan
from omop_emb.records import Fingerprint, IndexType


class Phase(Enum):
    """What a build is doing."""

    PLAN = "comparing vocabulary and space"
    EMBED = "embedding"
    JOBS = "waiting for batch jobs"
    WAIT = "waiting for other builders"
    WRITE_FILE = "writing the file"
    READ_FILE = "reading the file"
    FINISH = "making the index and finishing"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is.

    Attributes:
        phase: what it is doing.
        done, total: different texts embedded by this builder, and to be embedded by all.
        characters, total_characters: of these texts; the better measure of what is left.
        seconds: since embedding began.
        skipped: texts that needed no embedding.
        fraction: of the phase, 0 to 1; None where it is not known.
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
        """How long embedding will take yet, by characters; None before the first text."""
        if not self.characters:
            return None
        return self.seconds * (self.total_characters - self.characters) / self.characters


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What a build did, or with `is_dry_run` would do; counts are rows (texts of concepts) if not said.

    Attributes:
        space_name: the space.
        fingerprint: its model, prefixes and dimensions.
        index_type: FLAT or HNSW.
        vocabulary_release: what it was built from; None where the vocabulary does not say.
        new_concepts, changed_concepts: concepts that got their first texts, and others that got some.
        embedded: rows written with a vector that was made for them by this builder.
        embedded_texts: different texts that this builder had embedded.
        characters: of the different texts that need embedding.
        reused: rows written with a vector that stood in the database already.
        unchanged: rows that were left alone, or only `updated`.
        updated: rows whose concept's name, domain, class, code, standard flag or validity changed.
        withdrawn_concepts, withdrawn: concepts that left the space, and their rows.
        obsolete: rows of other concepts that were no longer among the concept's texts.
        failed: different texts that the model refused; the space lacks them.
        seconds: how long it took.
        index_made: whether the HNSW index was made.
        is_active: whether readers use this space.
        is_dry_run: whether nothing was done.
        shared: whether other builders took part.
    """

    space_name: str
    fingerprint: Fingerprint
    index_type: IndexType
    vocabulary_release: str | None
    new_concepts: int
    changed_concepts: int
    embedded: int
    embedded_texts: int
    characters: int
    reused: int
    unchanged: int
    updated: int
    withdrawn_concepts: int
    withdrawn: int
    obsolete: int
    failed: int
    seconds: float
    index_made: bool
    is_active: bool
    is_dry_run: bool = False
    shared: bool = False


def added(first: BuildPlan, second: BuildPlan) -> BuildPlan:
    """Two plans of one build, the second made because the vocabulary was replaced meanwhile."""
    return BuildPlan(
        vocabulary_release=second.vocabulary_release,
        unchanged=second.unchanged,
        to_embed=first.to_embed + second.to_embed,
        to_embed_different=first.to_embed_different + second.to_embed_different,
        characters=first.characters + second.characters,
        new_concepts=first.new_concepts + second.new_concepts,
        changed_concepts=first.changed_concepts + second.changed_concepts,
        reused=first.reused + second.reused,
        updated=first.updated + second.updated,
        withdrawn_concepts=first.withdrawn_concepts + second.withdrawn_concepts,
        withdrawn=first.withdrawn + second.withdrawn,
        obsolete=first.obsolete + second.obsolete,
        domain_rows=second.domain_rows,
        joined=first.joined or second.joined,
    )
