-- Terms whose latest decision differs from what another person last said about them: that decision and the other's.
-- What was taken back does not count, nor what a third decision has settled.
with effective as (
    select decision.*
    from omop_emb.review_decision as decision
    where
        decision.project_id = %(project)s and decision.action <> 'undo'
        and (%(positions)s::integer[] is null or decision.position = any(%(positions)s))
        and not exists (
            select from omop_emb.review_decision as undoing where undoing.undoes = decision.decision_id
        )
),

several as (
    select position from effective
    where state in ('approved', 'no match', 'ignored')
    group by position
    having count(distinct reviewer) > 1
),

last_of_each as (
    select distinct on (effective.position, effective.reviewer)
        effective.position, effective.reviewer, effective.version, effective.state, effective.targets,
        effective.mapping_types, effective.action
    from effective
    inner join several on several.position = effective.position
    where effective.state in ('approved', 'no match', 'ignored')
    order by effective.position, effective.reviewer, effective.version desc
),

latest as (
    select distinct on (position) * from last_of_each
    order by position, version desc
)

select
    term.position, term.source_code, term.source_name, coalesce(term.domain, '') as domain, term.text_key,
    other.version, other.state, other.targets, other.mapping_types, other.reviewer,
    other.version = latest.version as is_latest
from latest
inner join last_of_each as other on other.position = latest.position
inner join omop_emb.review_term as term on term.project_id = %(project)s and term.position = latest.position
where latest.action <> 'adjudicate'
order by term.position, other.version
