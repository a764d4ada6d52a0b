select
    concept_id, coalesce(concept_name, '') as concept_name, domain_id, vocabulary_id, concept_class_id,
    nullif(standard_concept, '') as standard_concept, concept_code,
    nullif(invalid_reason, '') as invalid_reason
from {concept}
where concept_code = any(%(codes)s::text[])
    and (%(vocabularies)s::text[] is null or vocabulary_id = any(%(vocabularies)s::text[]))
order by coalesce(invalid_reason, '') <> '', coalesce(standard_concept, '') <> 'S', concept_id
