"""source_to_concept_map: rows as in CDM 5.4, from mapped terms and from Usagi's file."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from omop_emb.errors import InputError
from omop_emb.mapping.files.delimited import Problem
from omop_emb.mapping.files.disk_buffer import DiskBuffer
from omop_emb.mapping.files.problem_list import ProblemList
from omop_emb.mapping.files.result_rows import target_candidates
from omop_emb.mapping.files.table_writer import Column
from omop_emb.mapping.files.usagi_file import UsagiMapping
from omop_emb.mapping.records import CheckedTargets, Decision, MappedTerm
from omop_emb.records import Concept

COLUMNS = (
    Column("source_code"),
    Column("source_concept_id", "integer"),
    Column("source_vocabulary_id"),
    Column("source_code_description"),
    Column("target_concept_id", "integer"),
    Column("target_vocabulary_id"),
    Column("valid_start_date", "date"),
    Column("valid_end_date", "date"),
    Column("invalid_reason"),
)
# From the data definition of CDM 5.4.
_CODE_LENGTH, _NAME_LENGTH, _VOCABULARY_LENGTH = 50, 255, 20
# The vocabulary of concept 0, "No matching concept".
NO_MATCH_VOCABULARY = "None"
MapKey = Literal["code", "code+name"]
FIRST_DAY, LAST_DAY = datetime.date(1970, 1, 1), datetime.date(2099, 12, 31)


@dataclass(frozen=True, slots=True)
class MapRow:
    """A row of source_to_concept_map; the fields are its columns."""

    source_code: str
    source_concept_id: int
    source_vocabulary_id: str
    source_code_description: str
    target_concept_id: int
    target_vocabulary_id: str
    valid_start_date: datetime.date
    valid_end_date: datetime.date
    invalid_reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The values by column name."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class MapSettings:
    """What all rows have in common.

    Attributes:
        source_vocabulary_id: names the site's codes, at most 20 characters.
        valid_start_date, valid_end_date: when the mappings are valid.
        unreviewed: whether unreviewed first candidates are written too.
        key: what source_code is: the code (the name if there is none), or code and name as "code|name".
    """

    source_vocabulary_id: str
    valid_start_date: datetime.date = FIRST_DAY
    valid_end_date: datetime.date = LAST_DAY
    unreviewed: bool = False
    key: MapKey = "code"

    def __post_init__(self) -> None:
        name = self.source_vocabulary_id
        if not name.strip() or len(name) > _VOCABULARY_LENGTH:
            raise InputError(
                "source_to_concept_map needs --source-vocabulary-id, your own name for the codes, "
                f"of 1 to {_VOCABULARY_LENGTH} characters; found {name!r}"
            )
        if self.valid_start_date > self.valid_end_date:
            raise InputError(
                f"the mappings end ({self.valid_end_date}) before they begin ({self.valid_start_date})"
            )


class MapRowBuilder:
    """Collects mappings, and gives the rows of source_to_concept_map when all of them are known.

    A source code is the table's key: of several names of a code, all must have the same targets.

    Attributes:
        problems: what was not written, or was cut, and why: the first, and in all `total`.
        unreviewed: how many terms were omitted because nobody has reviewed them.
        values: how many values, units … were omitted because the table has no column for them.
        replaced: how many terms have replacements instead of targets that are no longer valid.
        cut: how many names were too long for the table.
        conflicting: codes that were omitted because their names differ in targets, or one awaits review.
        conflicting_keys: the same as the table would have them, see source_key().
        only_case: codes that differ from another one only in case, which many databases ignore.
    """

    def __init__(
        self,
        settings: MapSettings,
        concepts: Callable[[Iterable[int]], Mapping[int, Concept]],
        check: Callable[[Sequence[int]], CheckedTargets] = CheckedTargets.trusted,
    ) -> None:
        """`concepts` looks up targets that are not candidates; `check` is asked about all of them."""
        self.problems = ProblemList()
        self.unreviewed = self.values = self.replaced = self.cut = 0
        self.conflicting: list[str] = []
        self.conflicting_keys: frozenset[str] = frozenset()
        self.only_case: list[str] = []
        self._settings, self._concepts, self._check = settings, concepts, check
        self._answers: dict[str, tuple[int, ...]] = {}  # source code -> targets, () while one is undecided
        self._conflicts: dict[str, str] = {}  # source code -> the term's own code, "" for none
        self._pending: DiskBuffer[_Pending] = DiskBuffer()

    def __enter__(self) -> MapRowBuilder:
        return self

    def __exit__(self, *error: object) -> None:
        self._pending.__exit__(*error)

    def add_term(self, mapped: MappedTerm) -> None:
        """Add a term: one row per target, or one with concept 0 for no match.

        A term in review gives none unless the settings include unreviewed ones.
        """
        term = mapped.term
        line, code, name = term.line or 0, term.code.strip(), term.name
        if mapped.decision is Decision.REVIEW and not self._settings.unreviewed:
            self.add_undecided(code, name)
            return
        self.values += len(mapped.mapped_values)
        if mapped.mapped_values and not mapped.targets:
            self._decide(code, name, ())  # a value alone maps to nothing, which is not "no match"
            return
        vocabularies = {
            candidate.concept_id: candidate.vocabulary_id
            for _, candidate in target_candidates(mapped)
            if candidate is not None
        }
        self._add(line, code, name, mapped.targets, vocabularies)

    def add_usagi(self, mapping: UsagiMapping) -> None:
        """Add an approved mapping of Usagi's file, one row per target; others give none."""
        if mapping.problem or mapping.status == "IGNORED":
            return
        code, name = mapping.key[0].strip(), mapping.key[1]
        if mapping.status != "APPROVED":
            self.add_undecided(code, name)
            return
        targets = [target.concept_id for target in mapping.targets if target.is_mapping]
        self.add_approved(mapping.line, code, name, targets, values=len(mapping.targets) - len(targets))

    def add_approved(
        self,
        line: int,
        code: str,
        name: str,
        targets: Sequence[int],
        *,
        values: int = 0,
        vocabularies: Mapping[int, str] | None = None,
    ) -> str:
        """Add what a person approved: concept ids, none for no match, one row each.

        `values`: how many values, units … belong beside them; `vocabularies`: of targets, where known.
        Returns why it is not written, which is a problem too; "" where it is, and where values stand alone.
        """
        self.values += values
        if values and not targets:
            self._decide(code, name, ())
            return ""
        return self._add(line, code, name, targets, vocabularies or {})

    def add_undecided(self, code: str, name: str) -> None:
        """Add a term that nobody has decided: it gives no row, nor does its code under another name."""
        self.unreviewed += 1
        self._decide(code, name, ())

    def rows(self) -> Iterator[MapRow]:
        """The rows of all that was added, in its order; can be read once."""
        self.conflicting = list(self._conflicts.values())
        self.conflicting_keys = frozenset(self._conflicts)
        by_case: dict[str, list[str]] = {}
        for key in self._answers:
            by_case.setdefault(key.casefold(), []).append(key)
        self.only_case = [key for keys in by_case.values() if len(keys) > 1 for key in keys]
        written: set[str] = set()
        with self._pending:
            for pending in self._pending:
                if pending.key not in self._conflicts and pending.key not in written:
                    written.add(pending.key)
                    yield from self._rows(pending)

    def _decide(self, code: str, name: str, targets: Sequence[int]) -> str:
        """The source code of a term; another answer for the same source code is a conflict."""
        key = self.source_key(code, name)
        answer = tuple(sorted(set(targets)))
        if self._answers.setdefault(key, answer) != answer:
            self._conflicts.setdefault(key, code)
        return key

    def source_key(self, code: str, name: str) -> str:
        """The source_code of a term, as the settings say."""
        if self._settings.key == "code+name":
            return "|".join(part for part in (code, name.strip()) if part)
        return code or name

    def _add(
        self, line: int, code: str, name: str, targets: Sequence[int], vocabularies: Mapping[int, str]
    ) -> str:
        checked = self._check([target for target in targets if target])
        if checked.outdated:
            is_replaced = bool(checked.targets)
            self.replaced += is_replaced
            if not is_replaced:
                self._decide(code, name, ())
                return self._refuse(line, f"not in source_to_concept_map: {checked.outdated}")
        key = self._decide(code, name, checked.targets or (0,))
        if len(key) > _CODE_LENGTH:
            what = "the code" if code else "there is no code, and the name instead"
            if self._settings.key == "code+name" and code:
                what = "the code with the name"
            return self._refuse(line, f"{what} is longer than {_CODE_LENGTH} characters")
        if len(name) > _NAME_LENGTH:
            self.cut += 1
            self.problems.append(
                Problem(line, f"the name is longer than {_NAME_LENGTH} characters and was cut")
            )
        self._pending.append(_Pending(line, key, name, checked.targets or (0,), dict(vocabularies)))
        return ""

    def _refuse(self, line: int, reason: str) -> str:
        self.problems.append(Problem(line, reason))
        return reason

    def _rows(self, pending: _Pending) -> Iterator[MapRow]:
        missing = [target for target in pending.targets if target and target not in pending.vocabularies]
        concepts = self._concepts(missing) if missing else {}
        for target in dict.fromkeys(pending.targets):
            vocabulary: str | None = NO_MATCH_VOCABULARY
            if target != 0:
                concept = concepts.get(target)
                vocabulary = pending.vocabularies.get(target) or (concept.vocabulary_id if concept else None)
            if vocabulary is None:
                self.problems.append(Problem(pending.line, f"concept {target} is not in the vocabulary"))
                continue
            yield MapRow(
                source_code=pending.key,
                source_concept_id=0,
                source_vocabulary_id=self._settings.source_vocabulary_id,
                source_code_description=pending.name[:_NAME_LENGTH],
                target_concept_id=target,
                target_vocabulary_id=vocabulary,
                valid_start_date=self._settings.valid_start_date,
                valid_end_date=self._settings.valid_end_date,
            )


class _Pending(NamedTuple):
    """A decided term that awaits the other names of its source code."""

    line: int
    key: str
    name: str
    targets: tuple[int, ...]
    vocabularies: dict[int, str]
