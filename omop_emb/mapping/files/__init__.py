"""Files of mapping: `open_terms()` reads source terms; the writers write tables and Usagi's files.

Also source_to_concept_map, the review queue, and the journal of a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.mapping.files.columns import Columns as Columns
    from omop_emb.mapping.files.reading_report import (
        count_lines as count_lines,
        first_problems as first_problems,
        reading_lines as reading_lines,
        reading_values as reading_values,
    )
    from omop_emb.mapping.files.source_to_concept_map import (
        MapKey as MapKey,
        MapRowBuilder as MapRowBuilder,
        MapSettings as MapSettings,
    )
    from omop_emb.mapping.files.table_writer import (
        Column as Column,
        check_table_path as check_table_path,
        write_table as write_table,
    )
    from omop_emb.mapping.files.term_file import ReadOptions as ReadOptions, open_terms as open_terms

__getattr__, __dir__ = lazy_names(__name__)
