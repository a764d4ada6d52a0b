"""Imports: files become reviews, with what a person has already decided in them.

`preview_file()` shows how a file would be read, `begin_review()` stores one, `import_review()` reads its
terms and maps them; `ImportRunner` does so in the background.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.service.review.imports.import_job import (
        ImportProgress as ImportProgress,
        import_progress as import_progress,
        import_review as import_review,
        unfinished_reviews as unfinished_reviews,
    )
    from omop_emb.service.review.imports.import_runner import ImportRunner as ImportRunner
    from omop_emb.service.review.imports.new_review import (
        FilePreview as FilePreview,
        begin_review as begin_review,
        preview_file as preview_file,
        same_file as same_file,
    )

__getattr__, __dir__ = lazy_names(__name__)
