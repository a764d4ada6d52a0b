"""Judge: what generative models do for mapping, a second opinion on terms in review and translations.

`Judge` asks a model about terms and caches its verdicts; `JudgeJob` does so for a whole run, with an estimate
first. A verdict never changes a decision; how much it changes a probability, and whether it may change the
order of candidates, is learned from approvals. `Translator` translates terms into English, `TranslationJob`
those of a whole file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.mapping.judge.judge import Judge as Judge
    from omop_emb.mapping.judge.judge_job import JudgeJob as JudgeJob
    from omop_emb.mapping.judge.prompt import MAX_EXAMPLES as MAX_EXAMPLES
    from omop_emb.mapping.judge.translation_cache import TranslationCache as TranslationCache
    from omop_emb.mapping.judge.translation_job import (
        TranslationJob as TranslationJob,
        translate_terms as translate_terms,
    )
    from omop_emb.mapping.judge.translator import Translator as Translator

__getattr__, __dir__ = lazy_names(__name__)
