"""Open synonyms: further texts of concepts, from openly licensed lists of names that are packaged."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from omop_emb.mapping.terms.data_files import read_name_groups

_BRAND = re.compile(r"\[([^\]]+)\]$")  # pimecrolimus 10 MG/ML Topical Cream [Elidel]
_MAX_CONCEPTS = 3  # a name that as many concepts would get says little


@dataclass(frozen=True)
class OpenSource:
    """A packaged list of names that mean the same, and which concepts may get them.

    Attributes:
        kind: kind of text that its names become.
        file: name of the list.
        vocabularies, domains: of the concepts that it names.
    """

    kind: str
    file: str
    vocabularies: Collection[str]
    domains: Collection[str]


OPEN_SOURCES = (
    OpenSource("UNII name", "unii_names.tsv", ("RxNorm", "RxNorm Extension"), ("Drug",)),
    OpenSource(
        "HPO synonym",
        "hpo_names.tsv",
        ("SNOMED", "OMOP Extension"),
        ("Condition", "Observation", "Measurement"),
    ),
)
"""Every list; NOTICE says where each comes from."""


def open_synonyms(
    source: OpenSource,
    own_texts: Iterable[tuple[int, str]],
    domains: Sequence[str],
    vocabularies: Sequence[str],
) -> Iterator[tuple[int, str]]:
    """(concept row, name) of the names that a list adds.

    A concept gets the names of each group that has one of its own. A name that a concept of those domains and
    vocabularies has already, or as a brand, stays with that concept alone.

    Args:
        source: the list.
        own_texts: (concept row, name or synonym) of the vocabulary.
        domains: of each concept row.
        vocabularies: the same.
    """
    groups = list(read_name_groups(source.file))
    # Of a whole vocabulary's texts, few are in a list: only these are kept.
    listed = {name.casefold() for names in groups for name in names}
    rows_by_text: dict[str, set[int]] = defaultdict(set)
    existing: set[str] = set()
    for row, text in own_texts:
        if vocabularies[row] in source.vocabularies and domains[row] in source.domains:
            folded = text.casefold()
            if folded in listed:
                rows_by_text[folded].add(row)
            existing.update(listed.intersection((folded, *_BRAND.findall(folded))))
    additions: dict[str, tuple[str, set[int]]] = {}
    for names in groups:
        rows = set().union(*(rows_by_text.get(name.casefold(), ()) for name in names))
        for name in names if rows else ():
            if name.casefold() not in existing:
                additions.setdefault(name.casefold(), (name, set()))[1].update(rows)
    for name, rows in additions.values():
        if len(rows) <= _MAX_CONCEPTS:
            yield from ((row, name) for row in sorted(rows))
