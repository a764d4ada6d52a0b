select
    concept_id, coalesce(concept_name, '') as concept_name, domain_id, vocabulary_id, concept_class_id,
    nullif(standard_concept, '') as standard_concept, concept_code,
    nullif(invalid_reason, '') as invalid_reason
from {concept}
where vocabulary_id = %(vocabulary_id)s
    and replace(upper(concept_code), '.', '') = replace(upper(%(code)s), '.', '')
order by coalesce(invalid_reason, '') <> '', coalesce(standard_concept, '') <> 'S', concept_id
