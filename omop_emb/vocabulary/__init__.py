"""Vocabulary: OMOP's concepts, loaded from Athena's files or read from a CDM schema.

`load_vocabulary()` makes a release of a download, `vocabulary_status()` describes it, `look_up()` finds
concepts by id or code. Embeddings of concepts are in `spaces`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.vocabulary.loader import (
        LoadedVocabulary as LoadedVocabulary,
        LoadProgress as LoadProgress,
        drop_retired as drop_retired,
        load_vocabulary as load_vocabulary,
    )
    from omop_emb.vocabulary.lookup import LookUp as LookUp, look_up as look_up
    from omop_emb.vocabulary.reader import vocabulary_status as vocabulary_status

__getattr__, __dir__ = lazy_names(__name__)
