-- The registry, and which HNSW indexes of each space are there: for all rows, and for which domains.
select
    space.*,
    coalesce(bool_or(indexes.name = format('space_%s_hnsw', space_id)), false) as has_index,
    coalesce(
        array_agg(substring(indexes.name from '_hnsw_([0-9]+)$')::int order by indexes.name)
            filter (where indexes.name ~ '_hnsw_[0-9]+$'),
        '{}'
    ) as partial_domains
from omop_emb.space
left join lateral (
    select c.relname as name
    from pg_index i join pg_class c on c.oid = i.indexrelid
    where i.indrelid = to_regclass(format('omop_emb.space_%s', space_id)) and i.indisvalid and i.indisready
) indexes on true
group by space.space_id
order by space_id
