-- Texts that the space should have and lacks; has_concept: whether it has others of their concept.
select w.*, {input} as input, exists (
    select from {texts} t where t.concept_id = w.concept_id and t.text_kind <> 'a'
) as has_concept
from {desired_texts} w
where not exists (
    select from {texts} t
    where (t.concept_id, t.text_kind, t.text_hash) = (w.concept_id, w.text_kind, w.text_hash)
)
