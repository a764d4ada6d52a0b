-- The active release, then the one before it. A release that is loaded twice has the same files.
select
    r.release_id, r.version, r.source, r.state = 'active' as is_active, r.loaded_at,
    coalesce((
        select f.row_count from omop_emb.vocabulary_file f
        where f.release_id = r.release_id and f.table_name = 'concept'
    ), 0) as concepts,
    (
        select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint from pg_class c
        where c.relnamespace = 'omop_emb'::regnamespace and c.relkind = 'r'
            and c.relname ~ ('^(' || %(tables)s || ')_' || r.release_id || '$')
    ) as bytes
from omop_emb.vocabulary_release r
where r.state in ('active', 'previous')
order by r.state
