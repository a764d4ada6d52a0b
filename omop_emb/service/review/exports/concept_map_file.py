"""ConceptMap file: elements of a map in their groups, kept on disk until all of them are known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, BinaryIO

from omop_emb.mapping.files.disk_buffer import DiskBuffer
from omop_emb.service.review.exports.concept_map_elements import MapElement
from omop_emb.service.review.exports.exported_terms import ExportedTerm

Key = tuple[str, str]
_UNDECIDED = b""


class ConceptMapFile:
    """Elements by group. A code is in a map once: terms that share one must have the same answer.

    Attributes:
        rows: elements that were written.
        merged: terms whose code another has, with the same answer.
        conflicting: terms that are not written because another with their code has another answer, or none.
    """

    def __init__(self) -> None:
        self.rows = self.merged = 0
        self.conflicting: list[str] = []
        self._answers: dict[Key, bytes] = {}
        self._conflicts: set[Key] = set()
        self._groups: dict[tuple[str, str], DiskBuffer[tuple[Key, dict[str, Any]]]] = {}
        self._labels: DiskBuffer[tuple[Key, str]] = DiskBuffer()
        self._stack = ExitStack()
        self._stack.enter_context(self._labels)

    def __enter__(self) -> ConceptMapFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def add(self, key: Key, term: ExportedTerm, elements: Sequence[MapElement]) -> None:
        """Add the elements of a decided term."""
        answer = [{**one.content, "display": "", "target_system": one.target} for one in elements]
        is_new = key not in self._answers
        self._decide(key, hashlib.sha256(json.dumps(answer, sort_keys=True).encode()).digest())
        self._labels.append((key, term.example))
        if is_new:
            for one in elements:
                group = (one.source, one.target)
                if group not in self._groups:
                    self._groups[group] = self._stack.enter_context(DiskBuffer())
                self._groups[group].append((key, one.content))

    def add_undecided(self, key: Key) -> None:
        """Record that a code has a term that awaits a decision."""
        self._decide(key, _UNDECIDED)

    def write(
        self, out: BinaryIO, resource: Mapping[str, Any], versions: Mapping[str, str], *, r4: bool
    ) -> None:
        """Write the resource with its groups; `versions` of systems, by their URIs."""
        seen: set[Key] = set()
        for key, label in self._labels:
            if key in self._conflicts:
                self.conflicting.append(label)
            elif key in seen:
                self.merged += 1
            seen.add(key)
        head = json.dumps(resource, ensure_ascii=False, indent=1).removesuffix("\n}")
        out.write(head.encode())
        opening = ',\n "group": ['
        for (source, target), buffer in self._groups.items():
            elements = self._kept(buffer)
            first = next(elements, None)
            if first is None:
                continue
            named = json.dumps(_systems(source, target, versions, r4), ensure_ascii=False).removesuffix("}")
            out.write(f'{opening}\n{named}, "element": [\n{_line(first)}'.encode())
            self.rows += 1
            for element in elements:
                out.write(f",\n{_line(element)}".encode())
                self.rows += 1
            out.write(b"\n]}")
            opening = ","
        out.write(b"]\n}\n" if self.rows else b"\n}\n")

    def _decide(self, key: Key, answer: bytes) -> None:
        if self._answers.setdefault(key, answer) != answer:
            self._conflicts.add(key)

    def _kept(self, buffer: DiskBuffer[tuple[Key, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
        return (element for key, element in buffer if key not in self._conflicts)


def _line(element: Mapping[str, Any]) -> str:
    return json.dumps(element, ensure_ascii=False)


def _systems(source: str, target: str, versions: Mapping[str, str], r4: bool) -> dict[str, str]:
    """The systems of a group: R4 has fields for their versions, R5 canonicals."""
    named = {"source": source, "target": target}
    stated = {side: uri for side, uri in named.items() if uri}
    if r4:
        by_side = {f"{side}Version": versions[uri] for side, uri in stated.items() if uri in versions}
        return stated | by_side
    return {side: f"{uri}|{versions[uri]}" if uri in versions else uri for side, uri in stated.items()}
