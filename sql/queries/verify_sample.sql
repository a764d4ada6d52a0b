-- A sample of the texts: random, as ordered by hash, and the same each time.
select t.text_hash, t.text, t.concept_name, t.domain_id, t.vocabulary_id, t.concept_class_id, t.concept_code,
       r.embedding
from {texts} t join {rows} r using (concept_id, text_kind, text_hash)
order by hashint8(text_hash), text_hash, concept_id, text_kind
limit {sample}
