"""Export format: what a format of a finished file offers, and what its writer reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from sqlalchemy import Engine


@dataclass(frozen=True, kw_only=True)
class ExportOption:
    """What a person may choose about an export; a field of its form.

    Attributes:
        name: as the writer's `options` call it, such as "source_vocabulary_id".
        label: for people.
        default: the value if nothing is chosen; of a flag "" for no, "yes" for yes.
        choices: all values, of an option that has a fixed set of them.
        is_flag: whether it is a yes or no.
        is_required: whether the export is refused without a value.
    """

    name: str
    label: str
    default: str = ""
    choices: Sequence[str] = ()
    is_flag: bool = False
    is_required: bool = False


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Terms that are not in an export, for one reason.

    Attributes:
        reason: in a few words, such as "not reviewed".
        count: how many.
        examples: the first of them for people, a code or "line 7".
    """

    reason: str
    count: int
    examples: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What was written.

    Attributes:
        rows: written, without a header.
        left_out: what was not, by reason; all terms are either written or here.
        notes: lines for people, such as what the format cannot say.
    """

    rows: int
    left_out: Sequence[LeftOut] = ()
    notes: Sequence[str] = ()


class Export(Protocol):
    """A format; a frozen dataclass with these fields is one."""

    @property
    def name(self) -> str:
        """As --format takes it and addresses show it, such as "source-to-concept-map"."""
        ...

    @property
    def label(self) -> str:
        """For people."""
        ...

    @property
    def suffix(self) -> str:
        """Of file names, such as ".csv"."""
        ...

    @property
    def media_type(self) -> str:
        """Of the download."""
        ...

    @property
    def options(self) -> Sequence[ExportOption]:
        """What a person may choose."""
        ...

    def write(
        self, engine: Engine, project_id: int, options: Mapping[str, str], out: BinaryIO
    ) -> ExportReport:
        """Write a review as it is now; `options` has a value for every option, see parse_options().

        The writer reads in one transaction of its own, in bounded memory. Each format's preview is the
        report of a write whose bytes are thrown away.

        Raises:
            InputError: an option has a value that cannot be used.
        """
        ...
