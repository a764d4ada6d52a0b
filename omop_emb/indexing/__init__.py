"""Indexing: embeds a vocabulary into a space, and verifies, exports, imports and drops spaces.

`build_index()` embeds only what changed and resumes after any interruption; `estimate_build()` says what that
will cost, and `verify_index()` compares a space with its vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.indexing.batch_jobs import cancel_jobs as cancel_jobs
    from omop_emb.indexing.build import build_index as build_index
    from omop_emb.indexing.build_options import (
        BuildOptions as BuildOptions,
        RecipeChange as RecipeChange,
        SpaceOptions as SpaceOptions,
    )
    from omop_emb.indexing.build_plan import BuildPreview as BuildPreview, preview_build as preview_build
    from omop_emb.indexing.drop import drop_index as drop_index
    from omop_emb.indexing.estimate import (
        BuildEstimate as BuildEstimate,
        client_for_estimate as client_for_estimate,
        compare_prices as compare_prices,
        estimate_build as estimate_build,
    )
    from omop_emb.indexing.export_space import export_index as export_index
    from omop_emb.indexing.finish import finish_index as finish_index
    from omop_emb.indexing.import_space import import_index as import_index
    from omop_emb.indexing.publish import Publication as Publication, publish_index as publish_index
    from omop_emb.indexing.published_collection import UnusedCollection as UnusedCollection
    from omop_emb.indexing.report import BuildReport as BuildReport, Progress as Progress
    from omop_emb.indexing.status import (
        SpaceStatus as SpaceStatus,
        space_status as space_status,
        space_statuses as space_statuses,
    )
    from omop_emb.indexing.target import BuildTarget as BuildTarget, build_target as build_target
    from omop_emb.indexing.verify import verify_index as verify_index

__getattr__, __dir__ = lazy_names(__name__)
