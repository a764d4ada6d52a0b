select
    concept_id, coalesce(concept_name, '') as concept_name, domain_id, vocabulary_id, concept_class_id,
    nullif(standard_concept, '') as standard_concept, concept_code,
    nullif(invalid_reason, '') as invalid_reason
from {concept}
where concept_code = %(concept_code)s and lower(vocabulary_id) = lower(%(vocabulary_id)s)
order by
    vocabulary_id <> %(vocabulary_id)s, coalesce(invalid_reason, '') <> '',
    coalesce(standard_concept, '') <> 'S', concept_id
limit 1
