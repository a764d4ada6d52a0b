-- Terms of a review that nobody has settled, with what tells whether two are alike: names, codes, first candidates.
select
    term.position, term.source_code, term.text_key, term.domain, coalesce(term.term ->> 'context', '') as context,
    coalesce(suggestion.concept_id, 0) as concept_id, coalesce(suggestion.concept_name, '') as concept_name
from omop_emb.review_term as term
left join omop_emb.review_suggestion as suggestion
    on suggestion.project_id = term.project_id and suggestion.position = term.position
left join lateral (
    select decision.state from omop_emb.review_decision as decision
    where decision.project_id = term.project_id and decision.position = term.position
    order by decision.version desc
    limit 1
) as latest on true
where term.project_id = %(project)s and coalesce(latest.state, 'unreviewed') in ('unreviewed', 'flagged')
order by term.position
