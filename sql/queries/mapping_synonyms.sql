select concept_id, min(concept_synonym_name) as text
from {concept_synonym}
where concept_id = any(%(concept_ids)s::bigint[]) and concept_synonym_name <> ''
group by concept_id, lower(concept_synonym_name)
order by concept_id, length(min(concept_synonym_name)), min(concept_synonym_name)
