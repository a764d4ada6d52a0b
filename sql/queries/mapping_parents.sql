select a.descendant_concept_id as concept_id, c.concept_name as text
from {concept_ancestor} a
join {concept} c on c.concept_id = a.ancestor_concept_id
where a.descendant_concept_id = any(%(concept_ids)s::bigint[]) and a.min_levels_of_separation = 1
order by a.descendant_concept_id, c.concept_name
