-- All terms of a project with their latest state and suggestion, in the order of the file: one statement, so that what is
-- decided while they are read is in all of them or in none.
select
    term.position, term.line, term.term, current.source_state, current.version, current.state, current.targets,
    current.mapping_types, current.equivalence, current.comment, current.reviewer, current.decided_at, current.action,
    current.assigned_to, case when %(suggestions)s then suggestion.result end as result,
    current.version > 0 and exists (
        select from omop_emb.review_decision as first
        where
            first.project_id = term.project_id and first.position = term.position and first.version = 1
            and first.action = 'import'
    ) as was_imported
from omop_emb.review_term as term
inner join omop_emb.review_current as current
    on current.project_id = term.project_id and current.position = term.position
left join omop_emb.review_suggestion as suggestion
    on
        %(suggestions)s and suggestion.project_id = term.project_id
        and suggestion.position = term.position
where term.project_id = %(project)s
order by term.position
