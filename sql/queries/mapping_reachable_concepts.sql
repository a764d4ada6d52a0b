-- Concepts that bear one of some names or ids, and all that they lead to by some relationships.
with recursive reached(concept_id) as (
    select concept_id
    from {concept}
    where lower(concept_name) = any(%(names)s) or concept_id = any(%(ids)s::bigint[])
    union
    select steps.concept_id_2
    from reached
    join {relationship} as steps on steps.concept_id_1 = reached.concept_id
    where steps.relationship_id = any(%(relationships)s) and coalesce(steps.invalid_reason, '') = ''
)
select concept_id from reached
