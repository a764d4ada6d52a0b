-- Texts of a vocabulary, each with a standard concept that it names: the pairs that a model is tuned on.
with standard as (
    select concept_id, concept_name, concept_code, vocabulary_id
    from {concept}
    where standard_concept = 'S' and coalesce(invalid_reason, '') = '' and coalesce(concept_name, '') <> ''
)
select 'synonyms' as source, s.concept_synonym_name as text, c.concept_name as name, c.concept_id
from {concept_synonym} s
join standard c on c.concept_id = s.concept_id
where s.concept_synonym_name <> ''
union
select 'maps-to', o.concept_name, c.concept_name, c.concept_id
from {concept_relationship} r
join {concept} o on o.concept_id = r.concept_id_1
join standard c on c.concept_id = r.concept_id_2
where r.relationship_id = 'Maps to' and r.concept_id_1 <> r.concept_id_2
    and coalesce(r.invalid_reason, '') = '' and coalesce(o.concept_name, '') <> ''
union
-- RxNorm: a brand name is a tradename of its ingredients.
select 'brands', o.concept_name, c.concept_name, c.concept_id
from {concept_relationship} r
join {concept} o on o.concept_id = r.concept_id_1
join standard c on c.concept_id = r.concept_id_2
where r.relationship_id = 'Tradename of' and o.concept_class_id = 'Brand Name'
    and coalesce(r.invalid_reason, '') = '' and coalesce(o.concept_name, '') <> ''
union
select 'units', c.concept_code, c.concept_name, c.concept_id
from standard c
where c.vocabulary_id = 'UCUM' and c.concept_code <> ''
order by 4, 1, 2
