-- Terms of a project by the state that the latest decision gave them.
with latest as (
    select distinct on (position) position, state
    from omop_emb.review_decision
    where project_id = %(project)s
    order by position, version desc
)

select coalesce(latest.state, 'unreviewed') as state, count(*)
from omop_emb.review_term as term
left join latest on latest.position = term.position
where term.project_id = %(project)s
group by 1
