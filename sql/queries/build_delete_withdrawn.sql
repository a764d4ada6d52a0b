delete from {table} t using pg_temp.surplus_texts l
where l.withdrawn and (t.concept_id, t.text_kind, t.text_hash) = (l.concept_id, l.text_kind, l.text_hash)
