-- Concepts of languages by id or by name: "Finnish language", of SNOMED, before "Finnish".
select concept_id, concept_name
from {concept}
where concept_id = any(%(concept_ids)s::bigint[])
   or (lower(concept_name) = any(%(names)s::text[]) and (domain_id = 'Language' or lower(concept_name) like '%% language'))
order by coalesce(standard_concept, '') <> 'S', coalesce(invalid_reason, '') <> '', concept_id
