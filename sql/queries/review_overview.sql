-- How far the people are with each review, or with one: terms that are settled or flagged, who decided, and when last.
select
    latest.project_id,
    count(*) filter (where latest.state in ('approved', 'no match', 'ignored')) as decided,
    count(*) filter (where latest.state = 'flagged') as flagged,
    max(latest.decided_at) as last_decided_at,
    array_agg(distinct latest.reviewer) as reviewers
from (
    select distinct on (decision.project_id, decision.position)
        decision.project_id, decision.state, decision.decided_at, decision.reviewer
    from omop_emb.review_decision as decision
    where %(project)s::integer is null or decision.project_id = %(project)s
    order by decision.project_id, decision.position, decision.version desc
) as latest
group by latest.project_id
