-- The concepts to which valid relationships of some kinds lead from some concepts.
select
    r.concept_id_1, r.relationship_id,
    c.concept_id, coalesce(c.concept_name, '') as concept_name, c.domain_id, c.vocabulary_id,
    c.concept_class_id, nullif(c.standard_concept, '') as standard_concept, c.concept_code,
    nullif(c.invalid_reason, '') as invalid_reason
from {concept_relationship} r
join {concept} c on c.concept_id = r.concept_id_2
where r.concept_id_1 = any(%(concept_ids)s::bigint[])
    and r.relationship_id = any(%(relationship_ids)s::text[])
    and r.concept_id_2 <> r.concept_id_1
    and coalesce(r.invalid_reason, '') = ''
order by r.concept_id_1, c.concept_id
