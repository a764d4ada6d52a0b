update omop_emb.build_chunk
set builder = %(builder)s, lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
where (space_id, chunk) = (
    select space_id, chunk from omop_emb.build_chunk
    where space_id = %(space)s and (lease_until is null or lease_until < clock_timestamp())
    order by chunk
    for update skip locked
    limit 1
)
returning chunk, texts, characters
