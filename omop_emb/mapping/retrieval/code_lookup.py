"""Code look-up: the standard concepts that a source code leads to, in each vocabulary that it may be of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from omop_emb.arrays import Mask
from omop_emb.mapping.records import MappedValue, PathStep, SourceTerm
from omop_emb.mapping.retrieval.lexicon import Lexicon


class CodeTarget(NamedTuple):
    """A standard concept that a code maps to."""

    row: int  # of the concept in the lexicon
    step: PathStep | None  # None for its own code
    mapped_values: tuple[MappedValue, ...]  # what belongs beside the mapping


@dataclass(frozen=True, kw_only=True)
class CodeLookup:
    """What a source code leads to.

    Attributes:
        targets: by ascending concept id; [] if there are none, or no code was to be looked up.
        vocabulary: the vocabulary whose code it is; "" without targets.
        excluded: whether the code maps to further concepts, which the filter excludes.
        others: further vocabularies that have the code and lead elsewhere: a person must choose.
        problem: why there are no targets, "" if there was nothing to look up.
        is_unknown: whether no vocabulary has the code at all.
    """

    targets: list[CodeTarget]
    vocabulary: str = ""
    excluded: bool = False
    others: tuple[str, ...] = ()
    problem: str = ""
    is_unknown: bool = False


def look_up_code(
    lexicon: Lexicon, term: SourceTerm, named: int | None = None, passing: Mask | None = None
) -> CodeLookup:
    """Look a term's code up in its vocabularies.

    Args:
        lexicon: the concepts.
        term: its source_vocabulary may name several, separated by "|"; an exact code comes before others
            over one without its dots.
        passing: (c,) the concepts that a filter lets through; None: all.
        named: the concept that the name says: of several vocabularies, the one that agrees is taken.
    """
    if not term.source_vocabulary or not term.code:
        return CodeLookup(targets=[])
    vocabularies = term.source_vocabulary.split("|")
    ids = {name: lexicon.ids_by_code.get((name, term.code), []) for name in vocabularies}
    if not any(ids.values()):
        ids = {name: lexicon.ids_of_code(name, term.code) for name in vocabularies}
    if not any(ids.values()):
        existing = [name for name in vocabularies if name in lexicon.code_vocabularies]
        if not existing:
            problem = f"vocabulary {' or '.join(vocabularies)} is not loaded, so its code was not looked up"
        else:
            problem = f"its code does not exist in {' or '.join(existing)}"
        return CodeLookup(targets=[], problem=problem, is_unknown=bool(existing))
    by_vocabulary = {
        name: targets for name in vocabularies if (targets := _targets(lexicon, ids[name], term.code))
    }
    if not by_vocabulary:
        problem = f"its code maps to no concept in {' or '.join(name for name in ids if ids[name])}"
        return CodeLookup(targets=[], problem=problem)
    excluded = [name for name in by_vocabulary if not _all_pass(by_vocabulary[name], passing)]
    for name in excluded:
        by_vocabulary[name] = [target for target in by_vocabulary[name] if _all_pass([target], passing)]
    by_vocabulary = {name: targets for name, targets in by_vocabulary.items() if targets}
    if not by_vocabulary:
        return CodeLookup(targets=[], problem="the filter excludes what its code maps to")
    concepts = {name: _concept_ids(lexicon, targets) for name, targets in by_vocabulary.items()}
    chosen = next((name for name in concepts if named in concepts[name]), next(iter(concepts)))
    others = tuple(name for name in concepts if concepts[name] != concepts[chosen])
    return CodeLookup(
        targets=by_vocabulary[chosen], vocabulary=chosen, excluded=chosen in excluded, others=others
    )


def _all_pass(targets: Sequence[CodeTarget], passing: Mask | None) -> bool:
    return passing is None or all(bool(passing[target.row]) for target in targets)


def _targets(lexicon: Lexicon, concept_ids: Sequence[int], code: str) -> list[CodeTarget]:
    targets: dict[int, CodeTarget] = {}
    for concept_id in concept_ids:
        for relationship, row in lexicon.standard_targets(concept_id):
            name = lexicon.targets.name_of(concept_id) or code
            step = PathStep(concept_id, name, relationship) if relationship else None
            targets.setdefault(row, CodeTarget(row, step, lexicon.values.get(concept_id)))
    return sorted(targets.values(), key=lambda target: int(lexicon.concept_id[target.row]))


def _concept_ids(lexicon: Lexicon, targets: Sequence[CodeTarget]) -> set[int]:
    return {int(lexicon.concept_id[target.row]) for target in targets}
