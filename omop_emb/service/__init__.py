"""Service: use cases that the command line and web pages share; they return plain dataclasses.

`ConceptFinder` is behind `omop-emb search` and whatever else finds concepts, `concept_card()` behind
`omop-emb concept`, `run_demo()` behind `omop-emb demo`, `diagnose()` behind `omop-emb doctor`,
`check_relations()` behind `omop-emb db check`; `readiness()`, `vocabulary_overview()`
and `space_overviews()` say what a server has to answer with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.service.card_text import card_facts as card_facts
    from omop_emb.service.concept_cards import (
        ConceptCard as ConceptCard,
        RelativesPage as RelativesPage,
        SpaceTexts as SpaceTexts,
        athena_url as athena_url,
        concept_card as concept_card,
        concept_relatives as concept_relatives,
        find_similar as find_similar,
        referenced_concept as referenced_concept,
        relatives_page as relatives_page,
    )
    from omop_emb.service.concept_finder import (
        ConceptFinder as ConceptFinder,
        find_concepts as find_concepts,
    )
    from omop_emb.service.concept_lists import (
        DatedConcept as DatedConcept,
        concepts_mapped_to as concepts_mapped_to,
        concepts_with_codes as concepts_with_codes,
        dated_concept as dated_concept,
        dated_concepts as dated_concepts,
        dated_relatives as dated_relatives,
        domains as domains,
        vocabularies as vocabularies,
    )
    from omop_emb.service.database_check import (
        DatabaseCheck as DatabaseCheck,
        check_relations as check_relations,
    )
    from omop_emb.service.demo import DemoHit as DemoHit, DemoResult as DemoResult, run_demo as run_demo
    from omop_emb.service.doctor import Finding as Finding, State as State, diagnose as diagnose
    from omop_emb.service.found_concepts import (
        Completion as Completion,
        FoundConcept as FoundConcept,
        FoundConcepts as FoundConcepts,
        SearchContents as SearchContents,
    )
    from omop_emb.service.overview import (
        Readiness as Readiness,
        VocabularyOverview as VocabularyOverview,
        readiness as readiness,
        space_overviews as space_overviews,
        vocabulary_overview as vocabulary_overview,
    )
    from omop_emb.vocabulary.concept_history import ConceptHistory as ConceptHistory
    from omop_emb.vocabulary.details import Synonym as Synonym
    from omop_emb.vocabulary.relatives import Relative as Relative

__getattr__, __dir__ = lazy_names(__name__)
