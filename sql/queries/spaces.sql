-- The registry, and which HNSW indexes of each space are there: for all rows, and for which domains.
select
    space_id, name, provider, model, revision, dimensions, document_prefix, query_prefix, document_task,
    query_task, normalisation, index_type, hnsw_m, hnsw_ef_construction, texts, template, synonym_languages,
    vocabulary_release, is_active, first_pass, partial, recall, partial_recall,
    coalesce(bool_or(vector_index.relname = format('space_%s_hnsw', space_id)), false) as has_index,
    coalesce(
        array_agg(substring(vector_index.relname from '_hnsw_([0-9]+)$')::int order by vector_index.relname)
            filter (where vector_index.relname ~ '_hnsw_[0-9]+$'),
        '{}'
    ) as partial_domains
from omop_emb.space
left join lateral (
    select c.relname
    from pg_index i join pg_class c on c.oid = i.indexrelid
    where i.indrelid = to_regclass(format('omop_emb.space_%s', space_id)) and i.indisvalid and i.indisready
) vector_index on true
group by space.space_id
order by space_id
