-- Positions of a project's terms that pass a filter, in order, with commas between them. What is null filters nothing.
with latest as (
    select distinct on (position) position, state, reviewer
    from omop_emb.review_decision
    where project_id = %(project)s
    order by position, version desc
),

assigned as (
    select distinct on (position) position, reviewer
    from omop_emb.review_assignment
    where project_id = %(project)s
    order by position, assignment_id desc
),

passing as (
    select term.position, term.text_key, coalesce(suggestion.priority, 0) as priority
    from omop_emb.review_term as term
    left join omop_emb.review_suggestion as suggestion
        on suggestion.project_id = term.project_id and suggestion.position = term.position
    left join latest on latest.position = term.position
    left join assigned on assigned.position = term.position
    where
        term.project_id = %(project)s
        and (%(states)s::text[] is null or coalesce(latest.state, 'unreviewed') = any(%(states)s))
        and (%(domains)s::text[] is null or suggestion.concept_domain = any(%(domains)s))
        and (%(min_probability)s::real is null or suggestion.probability >= %(min_probability)s::real)
        and (%(max_probability)s::real is null or suggestion.probability <= %(max_probability)s::real)
        and (%(flags)s::text[] is null or suggestion.flags && %(flags)s)
        and (%(reviewer)s::text is null or latest.reviewer = %(reviewer)s)
        and (%(assigned)s::text is null or coalesce(assigned.reviewer, '') = %(assigned)s)
        and (
            %(text)s::text is null
            or strpos(lower(term.source_name), lower(%(text)s)) > 0
            or strpos(lower(term.source_code), lower(%(text)s)) > 0
            or strpos(lower(suggestion.concept_name), lower(%(text)s)) > 0
        )
        and (not %(is_changed)s or suggestion.changed_at is not null)
        and (
            %(same_as)s::integer is null
            or term.group_key = (
                select like_it.group_key from omop_emb.review_term as like_it
                where like_it.project_id = %(project)s and like_it.position = %(same_as)s
            )
        )
),

grouped as (
    select
        position, priority, case when %(order)s = 'group' then text_key end as text_key,
        case
            when %(order)s = 'group' then max(priority) over (partition by text_key)
            when %(order)s = 'priority' then priority
        end as rank
    from passing
)

select string_agg(position::text, ',' order by rank desc, text_key, position) from grouped
