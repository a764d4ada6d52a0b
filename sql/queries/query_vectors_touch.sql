-- To the minute: writing at each read would cost more than an exact order of use is worth.
update omop_emb.query_vector set used_at = now()
where key in (
    select key from omop_emb.query_vector
    where key = any(%(keys)s) and used_at < now() - interval '1 minute'
    for update skip locked
)
