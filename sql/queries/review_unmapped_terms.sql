-- Terms of a project without a suggestion, in the order of the file: those that somebody has decided, or the others.
select term.position
from omop_emb.review_term as term
where
    term.project_id = %(project)s and term.position > %(after)s
    and not exists (
        select from omop_emb.review_suggestion as suggestion
        where suggestion.project_id = term.project_id and suggestion.position = term.position
    )
    and %(decided)s = exists (
        select from omop_emb.review_decision as decision
        where decision.project_id = term.project_id and decision.position = term.position
    )
order by term.position
limit %(limit)s
