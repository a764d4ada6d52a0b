-- Latest state and first candidate of a project's terms, in the order of the file.
select
    term.position, term.source_code, term.source_name, term.frequency, term.version, term.state, term.targets,
    term.mapping_types, term.equivalence, term.comment, term.reviewer, term.decided_at, term.action,
    term.assigned_to, term.source_state, term.group_key,
    coalesce(suggestion.revision, 0) as revision, coalesce(suggestion.concept_id, 0) as concept_id,
    coalesce(suggestion.concept_name, '') as concept_name, coalesce(suggestion.concept_domain, '') as concept_domain,
    coalesce(suggestion.flags, '{}') as flags, suggestion.probability,
    coalesce(suggestion.priority, 0) as priority, suggestion.changed_at is not null as is_changed
from omop_emb.review_current as term
left join omop_emb.review_suggestion as suggestion
    on suggestion.project_id = term.project_id and suggestion.position = term.position
where
    term.project_id = %(project)s
    and (%(positions)s::integer[] is null or term.position = any(%(positions)s))
order by term.position
