"""Translation step of a file job: which of its terms are translated, by the model that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from omop_emb.mapping.approvals.reuse import CheckedMappings
from omop_emb.mapping.judge.translation_job import TranslationJob, translate_terms
from omop_emb.mapping.mapper import Mapper
from omop_emb.mapping.records import SourceTerm


def prepare_translations(
    job: TranslationJob | None,
    read_terms: Callable[[], Iterable[SourceTerm]],
    mapper: Mapper,
    previous: CheckedMappings | None,
    *,
    skip: int,
    **callbacks: Callable[[str], Any],
) -> Callable[[SourceTerm], SourceTerm]:
    """What adds translations to a file's terms; nothing is sent without a job.

    Neither are the first `skip` terms, which are mapped, nor those that an earlier approval decides.
    `callbacks` are those of translate_terms().
    """
    if job is None:
        return lambda term: term

    def open_terms() -> Iterator[SourceTerm]:
        for term in islice(read_terms(), skip, None):
            if previous is None or previous.reuse(term, mapper.provenance) is None:
                yield term

    return translate_terms(job, open_terms, **callbacks)
