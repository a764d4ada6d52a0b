-- The valid concepts of a vocabulary that are mapped to a concept.
select
    c.concept_id, coalesce(c.concept_name, '') as concept_name, c.domain_id, c.vocabulary_id, c.concept_class_id,
    nullif(c.standard_concept, '') as standard_concept, c.concept_code,
    nullif(c.invalid_reason, '') as invalid_reason
from {concept_relationship} r
join {concept} c on c.concept_id = r.concept_id_2
where r.concept_id_1 = %(concept_id)s and r.relationship_id = 'Mapped from'
    and coalesce(r.invalid_reason, '') = '' and coalesce(c.invalid_reason, '') = ''
    and c.vocabulary_id = %(vocabulary_id)s and c.concept_id <> %(concept_id)s
order by c.concept_id
limit %(limit)s
