-- Terms of a review that nobody has decided and whose first candidate has at least a probability.
select
    term.position, term.source_code, term.source_name, term.group_key, suggestion.concept_id,
    suggestion.concept_domain, suggestion.probability
from omop_emb.review_term as term
inner join omop_emb.review_suggestion as suggestion
    on suggestion.project_id = term.project_id and suggestion.position = term.position
left join lateral (
    select decision.state from omop_emb.review_decision as decision
    where decision.project_id = term.project_id and decision.position = term.position
    order by decision.version desc
    limit 1
) as latest on true
where
    term.project_id = %(project)s and suggestion.concept_id <> 0
    and suggestion.probability >= %(least)s and coalesce(latest.state, 'unreviewed') = 'unreviewed'
    and (%(positions)s::integer[] is null or term.position = any(%(positions)s))
order by suggestion.probability desc, term.position
