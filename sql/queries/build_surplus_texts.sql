-- Texts that the space has and should not; withdrawn: none of their concept's should stay. Aliases that a site approved
-- stay as long as the vocabulary has their concept.
select t.concept_id, t.text_kind, t.text_hash, not exists (
    select from {desired_texts} w where w.concept_id = t.concept_id
) as withdrawn
from {texts} t
where {limited} and not exists (
    select from {desired_texts} w
    where (w.concept_id, w.text_kind, w.text_hash) = (t.concept_id, t.text_kind, t.text_hash)
) and (t.text_kind <> 'a' or not exists (select from {concept} c where c.concept_id = t.concept_id))
