-- What was said for first candidates and how often people then chose them, of the ranker that the latest such decision is
-- about. What nobody looked at by itself, a bulk approval or a row of an imported file, says nothing.
with latest as (
    select distinct on (position) decision_id, action, state, rank, probability, ranker
    from omop_emb.review_decision
    where project_id = %(project)s
    order by position, version desc
),

looked_at as (
    select decision_id, probability, ranker, coalesce(state = 'approved' and rank = 1, false) as is_first
    from latest
    where state in ('approved', 'no match') and action not in ('bulk', 'import') and probability is not null
)

select
    round(probability::numeric, 3)::double precision as probability, count(*) as terms,
    count(*) filter (where is_first) as first
from looked_at
where ranker = (select newest.ranker from looked_at as newest order by newest.decision_id desc limit 1)
group by 1
order by 1
