-- Counts and sizes of a space, by the names of SpaceStatus's attributes.
select
    (select selection from omop_emb.space where space_id = %(space)s) as selection,
    (select count(*) from {rows}) as rows,
    (select count(distinct concept_id) from {rows}) as concepts,
    pg_table_size(%(rows)s::regclass) + pg_table_size(%(texts)s::regclass) as table_bytes,
    array(
        select label from omop_emb.label where kind = 'domain' and code = any(%(domains)s) order by label
    ) as partial_domains,
    (
        select coalesce(sum(c.texts), 0)::bigint
        from omop_emb.build b left join omop_emb.build_chunk c using (space_id)
        where b.space_id = %(space)s
        group by b.space_id
    ) as pending_texts,
    (
        select count(distinct builder) from omop_emb.build_chunk
        where space_id = %(space)s and lease_until > clock_timestamp()
    ) as builders,
    (select count(*) from omop_emb.build_failure where space_id = %(space)s) as failed,
    (select count(*) from omop_emb.batch_job where space_id = %(space)s) as batch_jobs
