-- Of names and targets in pairs: those whose target is above a valid standard concept with exactly that name, and that
-- concept.
select asked.name, asked.target, named.concept_id
from unnest(%(names)s::text[], %(targets)s::integer[]) as asked (name, target)
inner join {concept} as named
    on lower(named.concept_name) = lower(asked.name) and named.standard_concept = 'S'
    and coalesce(named.invalid_reason, '') = '' and named.concept_id <> asked.target
inner join {concept_ancestor} as above
    on above.ancestor_concept_id = asked.target and above.descendant_concept_id = named.concept_id
order by 1, 2, 3
