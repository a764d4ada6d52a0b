-- Pending texts that need a vector.
select * from {pending} p
where not exists (
    select from {reusable} r
    where (r.concept_id, r.text_kind, r.text_hash) = (p.concept_id, p.text_kind, p.text_hash)
)
