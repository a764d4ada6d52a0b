create temporary view to_embed as
select * from pg_temp.pending p
where not exists (
    select from pg_temp.reusable r
    where (r.concept_id, r.text_kind, r.text_hash) = (p.concept_id, p.text_kind, p.text_hash)
)
