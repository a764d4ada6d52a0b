"""Vocabulary: OMOP's concepts, loaded from Athena's files or read from a CDM schema.

`load_vocabulary()` makes a release of a download, `rollback_vocabulary()` goes back to the one before,
`vocabulary_changes()` compares the two, `look_up()` finds concepts by id or code. Embeddings of concepts are
in `spaces`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.vocabulary.changes import (
        ConceptChange as ConceptChange,
        vocabulary_changes as vocabulary_changes,
    )
    from omop_emb.vocabulary.loader import (
        LoadedVocabulary as LoadedVocabulary,
        LoadProgress as LoadProgress,
        load_vocabulary as load_vocabulary,
    )
    from omop_emb.vocabulary.lookup import (
        LookUp as LookUp,
        concepts_with_code as concepts_with_code,
        look_up as look_up,
    )
    from omop_emb.vocabulary.losses import listed as listed
    from omop_emb.vocabulary.reader import vocabulary_status as vocabulary_status
    from omop_emb.vocabulary.releases import (
        Release as Release,
        drop_retired as drop_retired,
        is_older as is_older,
        rollback_vocabulary as rollback_vocabulary,
        vocabulary_releases as vocabulary_releases,
    )

__getattr__, __dir__ = lazy_names(__name__)
