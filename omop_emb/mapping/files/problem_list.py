"""Problem lists: the first problems of a file and how many there are, however many rows are bad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import SupportsIndex

from omop_emb.mapping.files.delimited import Problem

MOST_PROBLEMS = 100_000  # about 20 MB


class ProblemList(list[Problem]):
    """A list that keeps the first problems and counts the rest.

    Attributes:
        total: how many were added.
    """

    def __init__(self, problems: Iterable[Problem] = ()) -> None:
        """Add each of some problems."""
        super().__init__()
        self.total = 0
        self.extend(problems)

    def append(self, problem: Problem, /) -> None:
        """Add a problem, which is kept if it is among the first."""
        self.total += 1
        if len(self) < MOST_PROBLEMS:
            super().append(problem)

    def extend(self, problems: Iterable[Problem], /) -> None:
        """Add problems; of another such list those that it only counted count here too."""
        for problem in problems:
            self.append(problem)
        if isinstance(problems, ProblemList):
            self.total += problems.total - len(problems)

    def __iadd__(self, problems: Iterable[Problem], /) -> ProblemList:  # type: ignore[override,misc]  # as extend
        self.extend(problems)
        return self

    def insert(self, index: SupportsIndex, problem: Problem, /) -> None:
        """Not possible: the first problems are those that were found first."""
        raise NotImplementedError

    def clear(self) -> None:
        """Forget all."""
        self.total = 0
        super().clear()


def merged_problems(*lists: list[Problem]) -> ProblemList:
    """The problems of several lists by line, each once."""
    kept = [problem for problems in lists for problem in problems]
    total = sum(problems.total if isinstance(problems, ProblemList) else len(problems) for problems in lists)
    once = sorted(set(kept), key=lambda problem: (problem.line, problem.reason))
    merged = ProblemList(once)
    merged.total = total - (len(kept) - len(once))
    return merged
