"""Review: suggestions that people approve, change or refuse; every decision is kept, and none is overwritten.

`decide()` stores decisions and `undo()` takes the last ones back, `current_terms()` is the queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.service.review.decision_records import (
        MAPPING_TYPES as MAPPING_TYPES,
        Action as Action,
        DecisionResult as DecisionResult,
        Equivalence as Equivalence,
        NewDecision as NewDecision,
        ReviewState as ReviewState,
        StoredDecision as StoredDecision,
        Target as Target,
        Verdict as Verdict,
    )
    from omop_emb.service.review.decision_store import (
        decide as decide,
        decisions_since as decisions_since,
        history as history,
        undo as undo,
    )
    from omop_emb.service.review.project_records import (
        CurrentTerm as CurrentTerm,
        Project as Project,
        ReadingReport as ReadingReport,
        ReviewTerm as ReviewTerm,
        Suggestion as Suggestion,
    )
    from omop_emb.service.review.project_store import (
        delete_project as delete_project,
        find_project as find_project,
        list_projects as list_projects,
        read_terms as read_terms,
    )
    from omop_emb.service.review.review_overviews import (
        ProjectOverview as ProjectOverview,
        project_overview as project_overview,
        project_overviews as project_overviews,
    )
    from omop_emb.service.review.suggestion_store import (
        current_terms as current_terms,
        read_suggestions as read_suggestions,
    )

__getattr__, __dir__ = lazy_names(__name__)
