-- The next chunk (of one batch job, or without one) that no builder has claimed, or whose builder died: its lease ran
-- out, or its connection is gone, and with it its lock.
update omop_emb.build_chunk
set builder = %(builder)s, lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
where (space_id, chunk) = (
    select space_id, chunk from omop_emb.build_chunk claimed
    where space_id = %(space)s and job_id is not distinct from %(job)s::integer and (
        lease_until is null or lease_until < clock_timestamp() or not exists (
            select from pg_locks
            where locktype = 'advisory' and classid = hashtext('omop_emb.builder')::oid
                and objid = hashtext(claimed.builder::text)::oid and objsubid = 2
                and database = (select oid from pg_database where datname = current_database())
        )
    )
    order by chunk
    for update skip locked
    limit 1
)
returning chunk, texts, characters
