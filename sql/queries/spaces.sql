-- The registry, whether each space was ever whole, and which HNSW indexes it has: for all rows, and for which
-- domains. Each search reads this, so it asks the catalogue by name.
select
    space_id, name, provider, model, revision, dimensions, document_prefix, query_prefix, document_task,
    query_task, normalisation, index_type, hnsw_m, hnsw_ef_construction, texts, template, synonym_languages,
    vocabulary_release, is_active, first_pass, partial, recall, partial_recall,
    is_active or selection is not null or not exists (
        select from omop_emb.build where build.space_id = space.space_id
    ) as is_complete,
    to_regclass(format('omop_emb.space_%s_hnsw', space_id)) is not null as has_index,
    array(
        select code::int
        from jsonb_object_keys(partial_recall) code
        where to_regclass(format('omop_emb.space_%s_hnsw_%s', space_id, code)) is not null
        order by 1
    ) as partial_domains
from omop_emb.space
order by space_id
