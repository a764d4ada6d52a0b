-- Terms of a project that have targets or are known to have none, with their latest decision.
select
    term.position, term.source_code, term.source_name, coalesce(term.domain, '') as domain, term.text_key,
    decision.version, decision.state, decision.targets, decision.mapping_types, decision.reviewer
from (
    select distinct on (position) position, version, state, targets, mapping_types, reviewer
    from omop_emb.review_decision
    where project_id = %(project)s and (%(positions)s::integer[] is null or position = any(%(positions)s))
    order by position, version desc
) as decision
inner join omop_emb.review_term as term on term.project_id = %(project)s and term.position = decision.position
where decision.state in ('approved', 'no match')
order by term.position
