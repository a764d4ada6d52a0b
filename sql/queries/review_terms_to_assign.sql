-- Positions of the terms that a filter lets through, in the order of the file.
select term.position
from omop_emb.review_current as term
left join omop_emb.review_suggestion as suggestion
    on suggestion.project_id = term.project_id and suggestion.position = term.position
where
    term.project_id = %(project)s
    and (%(positions)s::integer[] is null or term.position = any(%(positions)s))
    and (cardinality(%(states)s::text[]) = 0 or term.state = any(%(states)s))
    and (
        %(domain)s = '' or suggestion.concept_domain = %(domain)s
        or %(domain)s = any(string_to_array(term.domain, '|'))
    )
    and (
        %(text)s = '' or position(%(text)s in lower(term.source_name)) > 0
        or position(%(text)s in lower(term.source_code)) > 0
    )
    and (not %(unassigned)s or term.assigned_to = '')
order by term.position
