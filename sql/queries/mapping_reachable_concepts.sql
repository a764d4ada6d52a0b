-- Concepts with one of these names or ids, and all that can be reached from them by these relationships.
with recursive reached(concept_id) as (
    select concept_id
    from {concept}
    where lower(concept_name) = any(%(names)s) or concept_id = any(%(ids)s::bigint[])
    union
    select step.concept_id_2
    from reached
    join {relationship} as step on step.concept_id_1 = reached.concept_id
    where step.relationship_id = any(%(relationships)s) and coalesce(step.invalid_reason, '') = ''
)
select concept_id from reached
