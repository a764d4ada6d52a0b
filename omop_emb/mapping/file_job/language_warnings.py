"""Language warnings: what to do about terms in a language that the space's model does not know."""

from __future__ import annotations

from itertools import islice, zip_longest

from omop_emb.embeddings.models import find_model
from omop_emb.mapping.files.term_file import TermFile
from omop_emb.mapping.judge.translation_job import TranslationJob
from omop_emb.mapping.mapper import Mapper
from omop_emb.mapping.terms.language import looks_english

_LANGUAGE_SAMPLE = 1_000  # terms


def language_warnings(mapper: Mapper, file: TermFile, translation: TranslationJob | None) -> list[str]:
    """A warning if no name column looks English, no space's model knows more, and nothing is translated."""
    models = [find_model(model) for model in mapper.models]
    knows_more = any(model is None or not model.english_only for model in models)
    if translation is not None or knows_more:
        return []
    names = ((term.name, *term.further_names) for term in islice(file, _LANGUAGE_SAMPLE))
    columns = list(zip_longest(*names, fillvalue=""))
    words = mapper.engine.lexical.words.column
    if not columns or any(looks_english(filter(None, column), words) for column in columns):
        return []
    return [
        f"warning: {mapper.provenance.model} knows only English: terms in other languages are found by "
        "their spelling alone. Translate them (another --name-column with a translation, or --translate "
        "PROVIDER:MODEL), load a vocabulary with synonyms in their language, or also search a "
        "multilingual model's space (--also-space NAME)"
    ]
