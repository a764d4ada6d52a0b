-- Missing texts whose vector is not in this database.
select * from {missing_texts} p
where not exists (
    select from {reusable_vectors} r
    where (r.concept_id, r.text_kind, r.text_hash) = (p.concept_id, p.text_kind, p.text_hash)
)
