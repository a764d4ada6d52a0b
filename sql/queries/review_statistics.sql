-- What a review has come to, in one snapshot and as one JSON value. An act is what a person did at once: one decision, or
-- a batch. What nobody looked at by itself, a bulk approval or a row of an imported file, says nothing about
-- probabilities, and is left out of calibration and quarters.
with latest as materialized (
    select distinct on (position) position, decision_id, reviewer, action, state, rank, probability
    from omop_emb.review_decision
    where project_id = %(project)s
    order by position, version desc
),

states as (
    select
        coalesce(nullif(suggestion.concept_domain, ''), term.domain, '') as domain,
        coalesce(latest.state, 'unreviewed') as state,
        count(*) as terms, sum(coalesce(term.frequency, 0)) as frequency
    from omop_emb.review_term as term
    left join omop_emb.review_suggestion as suggestion
        on suggestion.project_id = term.project_id and suggestion.position = term.position
    left join latest on latest.position = term.position
    where term.project_id = %(project)s
    group by 1, 2
),

standing as (
    select
        reviewer, state,
        case
            when action in ('bulk', 'import') then action
            when state <> 'approved' then state
            when rank = 1 then 'first suggestion'
            when rank > 1 then 'other candidate'
            else 'searched'
        end as way,
        count(*) as terms
    from latest
    where state <> 'unreviewed'
    group by 1, 2, 3
),

looked_at as (
    select decision_id, probability, coalesce(state = 'approved' and rank = 1, false) as is_first
    from latest
    where state in ('approved', 'no match') and action not in ('bulk', 'import')
),

calibration as (
    select
        round(probability * 1000)::integer as thousandths, count(*) as terms,
        count(*) filter (where is_first) as first
    from looked_at
    where probability is not null
    group by 1
),

quarters as (
    select quarter, count(*) as terms, count(*) filter (where is_first) as first
    from (select is_first, ntile(4) over (order by decision_id) as quarter from looked_at) as numbered
    group by quarter
),

acts as (
    select reviewer, decided_at, 1::bigint as terms
    from omop_emb.review_decision
    where project_id = %(project)s and batch_id is null and action <> 'import'
    union all
    select reviewer, min(decided_at), count(*)
    from omop_emb.review_decision
    where project_id = %(project)s and batch_id is not null and action <> 'import'
    group by reviewer, batch_id, action
),

timed as (
    select
        reviewer, decided_at, terms,
        -- date_part() and not extract(), whose decimals take several times as long
        date_part('epoch', decided_at - lag(decided_at) over (partition by reviewer order by decided_at)) as seconds
    from acts
),

hours as (
    select
        grouping(reviewer) = 1 as is_hour, reviewer, date_trunc('hour', decided_at, 'UTC') as hour,
        count(*) as acts, sum(terms) as terms, count(distinct reviewer) as reviewers, max(decided_at) as last_at,
        percentile_cont(0.5) within group (order by seconds) filter (where seconds <= %(longest)s) as seconds
    from timed
    group by grouping sets (date_trunc('hour', decided_at, 'UTC'), reviewer)
)

select jsonb_build_object(
    'states', (select coalesce(jsonb_agg(states order by domain, state), '[]') from states),
    'standing', (select coalesce(jsonb_agg(standing order by reviewer, state, way), '[]') from standing),
    'calibration', (select coalesce(jsonb_agg(calibration order by thousandths), '[]') from calibration),
    'quarters', (select coalesce(jsonb_agg(quarters order by quarter), '[]') from quarters),
    'hours', (select coalesce(jsonb_agg(hours order by hour), '[]') from hours where is_hour),
    'reviewers', (select coalesce(jsonb_agg(hours order by reviewer), '[]') from hours where not is_hour)
)
