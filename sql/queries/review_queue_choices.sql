-- The values of a project that a filter of its queue may name.
select 'domains', array_agg(distinct concept_domain)
from omop_emb.review_suggestion where project_id = %(project)s
union all
select 'flags', array_agg(distinct flag)
from omop_emb.review_suggestion, unnest(flags) as flag where project_id = %(project)s
union all
select 'reviewers', array_agg(distinct reviewer)
from omop_emb.review_decision where project_id = %(project)s
union all
select 'assigned', array_agg(distinct reviewer)
from omop_emb.review_assignment where project_id = %(project)s
