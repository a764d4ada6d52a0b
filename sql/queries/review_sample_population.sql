-- Terms that can be decided a second time, with their first target and the domain that was looked for; not those that
-- the person who is asked has ever decided.
select
    decision.position, decision.version, coalesce(decision.targets[1], 0) as target,
    coalesce(nullif(term.domain, ''), suggestion.concept_domain) as domain
from (
    select distinct on (position) position, version, state, targets
    from omop_emb.review_decision
    where project_id = %(project)s
    order by position, version desc
) as decision
inner join omop_emb.review_term as term on term.project_id = %(project)s and term.position = decision.position
left join omop_emb.review_suggestion as suggestion
    on suggestion.project_id = %(project)s and suggestion.position = decision.position
where
    decision.state = any(%(states)s)
    and not exists (
        select from omop_emb.review_decision as own
        where own.project_id = %(project)s and own.position = decision.position and own.reviewer = %(reviewer)s
    )
order by decision.position
