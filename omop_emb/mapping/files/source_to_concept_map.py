"""source_to_concept_map: rows as in CDM 5.4, from mapped terms and from Usagi's file."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from omop_emb.errors import InputError
from omop_emb.mapping.files.delimited import Problem
from omop_emb.mapping.files.result_rows import target_candidates
from omop_emb.mapping.files.table_writer import Column
from omop_emb.mapping.files.usagi_file import UsagiMapping
from omop_emb.mapping.records import Decision, MappedTerm
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
    """

    source_vocabulary_id: str
    valid_start_date: datetime.date = FIRST_DAY
    valid_end_date: datetime.date = LAST_DAY
    unreviewed: bool = False

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
    """Turns mappings into rows of source_to_concept_map.

    Attributes:
        problems: what was not written, or was cut, and why.
        unreviewed: how many terms were omitted because nobody has reviewed them.
        values: how many values, units … were omitted because the table has no column for them.
    """

    def __init__(
        self, settings: MapSettings, concepts: Callable[[Iterable[int]], Mapping[int, Concept]]
    ) -> None:
        """`concepts` looks up targets that are not candidates; unknown ids become problems."""
        self.problems: list[Problem] = []
        self.unreviewed = self.values = 0
        self._settings, self._concepts = settings, concepts
        self._seen: set[tuple[str, int]] = set()

    def rows_of_term(self, mapped: MappedTerm) -> Iterator[MapRow]:
        """One row per target of a term, or one with concept 0 for no match.

        A term in review gives none unless the settings include unreviewed ones.
        """
        if mapped.decision is Decision.REVIEW and not self._settings.unreviewed:
            self.unreviewed += 1
            return
        self.values += len(mapped.mapped_values)
        term = mapped.term
        pairs = target_candidates(mapped)
        vocabularies = {
            candidate.concept_id: candidate.vocabulary_id for _, candidate in pairs if candidate is not None
        }
        targets = [concept_id for concept_id, _ in pairs]
        if not targets and mapped.mapped_values:
            return  # a value alone maps to nothing, which is not "no match"
        yield from self._rows(term.line or 0, term.code or term.name, term.name, targets, vocabularies)

    def rows_of_usagi(self, mapping: UsagiMapping) -> Iterator[MapRow]:
        """One row per target of an approved mapping in Usagi's file; others give none."""
        if mapping.problem:
            return
        if mapping.status != "APPROVED":
            self.unreviewed += mapping.status != "IGNORED"
            return
        code, name = mapping.key
        targets = [target.concept_id for target in mapping.targets if target.is_mapping]
        self.values += len(mapping.targets) - len(targets)
        if not targets and mapping.targets:
            return
        yield from self._rows(mapping.line, code or name, name, targets, {})

    def _rows(
        self, line: int, code: str, name: str, targets: list[int], vocabularies: Mapping[int, str]
    ) -> Iterator[MapRow]:
        if len(code) > _CODE_LENGTH:
            what = "the code" if code != name else "there is no code, and the name instead"
            self.problems.append(Problem(line, f"{what} is longer than {_CODE_LENGTH} characters"))
            return
        if len(name) > _NAME_LENGTH:
            self.problems.append(
                Problem(line, f"the name is longer than {_NAME_LENGTH} characters and was cut")
            )
        missing = [concept_id for concept_id in targets if concept_id not in vocabularies]
        concepts = self._concepts(missing) if missing else {}
        for target in targets or [0]:
            vocabulary: str | None = NO_MATCH_VOCABULARY
            if target != 0:
                concept = concepts.get(target)
                vocabulary = vocabularies.get(target) or (concept.vocabulary_id if concept else None)
            if vocabulary is None:
                self.problems.append(Problem(line, f"concept {target} is not in the vocabulary"))
                continue
            if (code, target) in self._seen:
                self.problems.append(Problem(line, f"the code is already mapped to concept {target}"))
                continue
            self._seen.add((code, target))
            yield MapRow(
                source_code=code,
                source_concept_id=0,
                source_vocabulary_id=self._settings.source_vocabulary_id,
                source_code_description=name[:_NAME_LENGTH],
                target_concept_id=target,
                target_vocabulary_id=vocabulary,
                valid_start_date=self._settings.valid_start_date,
                valid_end_date=self._settings.valid_end_date,
            )
