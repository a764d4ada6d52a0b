select
    (select selection from omop_emb.space where space_id = %(space)s),
    (select count(*) from {rows}),
    (select count(distinct concept_id) from {rows}),
    pg_table_size(%(rows)s::regclass) + pg_table_size(%(texts)s::regclass),
    array(select label from omop_emb.label where kind = 'domain' and code = any(%(domains)s) order by label),
    (
        select coalesce(sum(c.texts), 0)::bigint
        from omop_emb.build b left join omop_emb.build_chunk c using (space_id)
        where b.space_id = %(space)s
        group by b.space_id
    ),
    (
        select count(distinct builder) from omop_emb.build_chunk
        where space_id = %(space)s and lease_until > clock_timestamp()
    ),
    (select count(*) from omop_emb.build_failure where space_id = %(space)s),
    (select count(*) from omop_emb.batch_job where space_id = %(space)s)
