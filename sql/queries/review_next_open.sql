-- Positions of terms that nobody has settled and that have a suggestion, in the order of the queue.
select suggestion.position
from omop_emb.review_suggestion as suggestion
left join lateral (
    select decision.state from omop_emb.review_decision as decision
    where decision.project_id = suggestion.project_id and decision.position = suggestion.position
    order by decision.version desc
    limit 1
) as latest on true
where
    suggestion.project_id = %(project)s and coalesce(latest.state, 'unreviewed') in ('unreviewed', 'flagged')
    and (%(positions)s::integer[] is null or suggestion.position = any(%(positions)s))
order by suggestion.priority desc, suggestion.position
limit %(limit)s
