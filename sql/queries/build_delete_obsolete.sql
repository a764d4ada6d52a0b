delete from {table} t using {work} w
where w.chunk = -1 and (t.concept_id, t.text_kind, t.text_hash) = (w.concept_id, w.text_kind, w.text_hash)
