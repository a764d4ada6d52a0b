-- Groups of a review with at least two terms that nobody has settled, the largest first; what is said of a group is of
-- its first open term.
with member as (
    select
        term.group_key, term.position, term.source_name, coalesce(term.frequency, 1) as frequency,
        coalesce(latest.state, 'unreviewed') in ('unreviewed', 'flagged') as is_open
    from omop_emb.review_term as term
    left join lateral (
        select decision.state from omop_emb.review_decision as decision
        where decision.project_id = term.project_id and decision.position = term.position
        order by decision.version desc
        limit 1
    ) as latest on true
    where
        term.project_id = %(project)s
        and term.group_key in (
            select several.group_key from omop_emb.review_term as several
            where several.project_id = %(project)s
            group by several.group_key having count(*) > 1
        )
),

large as (
    select
        group_key, min(position) filter (where is_open) as position,
        count(*) filter (where is_open) as open_terms, count(*) as terms,
        coalesce(sum(frequency) filter (where is_open), 0)::bigint as frequency
    from member
    group by group_key
    having count(*) filter (where is_open) > 1
    order by 3 desc, 5 desc, 2
    limit %(limit)s offset %(offset)s
)

select
    large.group_key, large.position, term.source_name as name, large.open_terms, large.terms, large.frequency,
    coalesce(suggestion.concept_id, 0) as concept_id, coalesce(suggestion.concept_name, '') as concept_name,
    suggestion.probability
from large
inner join omop_emb.review_term as term on term.project_id = %(project)s and term.position = large.position
left join omop_emb.review_suggestion as suggestion
    on suggestion.project_id = %(project)s and suggestion.position = large.position
order by large.open_terms desc, large.frequency desc, large.position
