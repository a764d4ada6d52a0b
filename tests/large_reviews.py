"""Large reviews, made without mapping: terms and suggestions that look like real ones, of any number."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from functools import cache
from random import Random
from typing import Any

import psycopg

from omop_emb.mapping.files.result_json import to_json
from omop_emb.mapping.records import (
    Candidate,
    Contribution,
    Decision,
    MappedTerm,
    Provenance,
    Retriever,
    SourceTerm,
    Variant,
)
from omop_emb.service import demo
from omop_emb.service.review.project_records import ReviewTerm
from omop_emb.service.review.project_store import create_project, mark_ready, store_provenance, store_terms
from omop_emb.service.review.suggestion_store import flag_kinds
from omop_emb.service.review.term_keys import group_key, text_key

CANDIDATES = 10
RANKER = "shipped-3"
_DOMAINS = ("Condition", "Measurement", "Observation", "Drug", "Device", "Procedure")
_WARDS = ("cardiology", "surgery", "paediatrics", "laboratory", "intensive care")
_REASONS = ("same words", "cosine similarity", "word overlap", "found by several", "domain", "length")
_PROVENANCE = Provenance(
    space_id=1,
    model="local:layer",
    fingerprint="0" * 64,
    vocabulary="v5.0 sample",
    ranker=RANKER,
    calibrated=True,
    accept_precision=None,
    accept_untrained=False,
    version="1.0",
)

_DECIDE_ALL = """
insert into omop_emb.review_decision (
    project_id, position, version, request_id, reviewer, decided_at, action, state, targets, mapping_types,
    equivalence, revision, rank, probability, ranker
)
select
    project_id, position, 1, gen_random_uuid(), (array['Ada', 'Bob', 'Cleo'])[1 + mod(position, 3)],
    timestamptz '2026-01-05 08:00+00' + position * interval '4 seconds' + random() * interval '2 seconds',
    'decide', case when roll < .95 then 'approved' else 'no match' end,
    case when roll < .95 then array[concept_id] else '{}' end,
    case when roll < .95 then array['MAPS_TO'] else '{}' end,
    'EQUIVALENT', revision, case when roll < probability * .95 then 1 when roll < .9 then 3 end, probability,
    %(ranker)s
from (
    select *, random() as roll
    from omop_emb.review_suggestion
    where project_id = %(project)s
    order by position
) as suggestion
where random() < %(share)s
"""


@cache
def standard_concepts() -> tuple[dict[str, str], ...]:
    """Standard concepts of the sample vocabulary that terms may mean."""
    with (demo.SAMPLE / "CONCEPT.csv").open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return tuple(row for row in rows if row["standard_concept"] == "S" and row["domain_id"] in _DOMAINS)


def mapped_terms(count: int, seed: int = 1) -> Iterator[MappedTerm]:
    """Terms with suggestions; the first is right as often as its probability says."""
    chance = Random(seed)  # noqa: S311 - nothing secret
    concepts = standard_concepts()
    for number in range(1, count + 1):
        meant = concepts[number % len(concepts)]
        name = meant["concept_name"]
        if number > len(concepts):
            name = f"{name} ({chance.choice(_WARDS)} {number // len(concepts)})"
        probability = round(min(0.999, chance.betavariate(1.6, 0.8)), 4)
        others = chance.sample(range(len(concepts)), CANDIDATES)
        found = [concepts[other] for other in others if concepts[other] is not meant][: CANDIDATES - 1]
        # Where the first candidate is wrong, the right one is further down, or among none.
        place = 0 if chance.random() < probability else chance.randrange(1, CANDIDATES + 1)
        found.insert(place, meant)
        frequency = int(chance.paretovariate(0.9))
        yield MappedTerm(
            term=SourceTerm(
                name=name,
                code=f"L{number:06}",
                frequency=frequency,
                context={"ward": chance.choice(_WARDS)},
                line=number + 1,
            ),
            candidates=tuple(
                _candidate(number, rank, concept, probability if rank == 1 else (1 - probability) / rank**2)
                for rank, concept in enumerate(found[:CANDIDATES], start=1)
            ),
            decision=Decision.REVIEW,
            reason="the first two candidates are close",
            probability=probability,
            priority=frequency * (1 - probability),
            provenance=_PROVENANCE,
        )


def _candidate(number: int, rank: int, concept: dict[str, str], probability: float) -> Candidate:
    return Candidate(
        rank=rank,
        concept_id=int(concept["concept_id"]),
        concept_name=concept["concept_name"],
        domain_id=concept["domain_id"],
        vocabulary_id=concept["vocabulary_id"],
        concept_class_id=concept["concept_class_id"],
        standard_concept="S",
        concept_code=concept["concept_code"],
        score=5.0 - rank,
        probability=probability,
        variant=Variant(concept["concept_name"].lower(), "lower case"),
        matched_text=concept["concept_name"],
        matched_kind="name",
        retrievers={Retriever.DENSE: 0.9 - rank / 50, Retriever.LEXICAL: 0.8 - rank / 40},
        flags=("number: 2, not 1",) if (number + rank) % 7 == 3 else (),
        contributions=tuple(Contribution(reason, 0.9 - number / 4) for number, reason in enumerate(_REASONS)),
    )


def store_review(
    connection: psycopg.Connection[Any], count: int, *, name: str = "large", seed: int = 1
) -> int:
    """The id of a new project of so many mapped terms that nobody has decided; the caller commits."""
    terms = [*mapped_terms(count, seed)]
    content = "code,name,frequency\n" + "".join(
        f'{one.term.code},"{one.term.name.replace(chr(34), chr(34) * 2)}",{one.term.frequency}\n'
        for one in terms
    )
    project_id = create_project(
        connection,
        name=name,
        site="default",
        file_name=f"{name}.csv",
        file_digest="0" * 64,
        settings={},
        created_by="Ada",
        content=io.BytesIO(content.encode()),
    )
    store_terms(
        connection,
        project_id,
        (
            ReviewTerm(
                position=position,
                term=one.term,
                text_key=text_key(one.term.name),
                group_key=group_key(one.term),
            )
            for position, one in enumerate(terms, start=1)
        ),
    )
    _store_suggestions(connection, project_id, terms)
    store_provenance(connection, project_id, {"ranker": RANKER})
    mark_ready(connection, project_id)
    return project_id


def _store_suggestions(
    connection: psycopg.Connection[Any], project_id: int, terms: Iterable[MappedTerm]
) -> None:
    """What store_suggestions() stores, in one statement."""
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "copy omop_emb.review_suggestion (project_id, position, result, concept_id, concept_name, "
            "concept_domain, flags, probability, priority) from stdin"
        ) as copy,
    ):
        for position, one in enumerate(terms, start=1):
            best = one.candidates[0]
            concept = (best.concept_id, best.concept_name, best.domain_id, list(flag_kinds(best.flags)))
            copy.write_row((project_id, position, to_json(one), *concept, one.probability, one.priority))


def decide_all(
    connection: psycopg.Connection[Any], project_id: int, *, share: float = 1.0, seed: int = 1
) -> None:
    """Decisions of three people on a share of the terms, as probable as their suggestions say."""
    connection.execute("select setseed(%s)", (seed / 100,))
    connection.execute(_DECIDE_ALL, {"ranker": RANKER, "project": project_id, "share": share})
