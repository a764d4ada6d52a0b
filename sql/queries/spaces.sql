-- The registry, with whether each space's first build is finished, and which HNSW indexes it has: over all rows, and
-- over which domains' rows. Indexes are looked up by name, which is fast. A schema that is not migrated yet has no
-- release_id and no standard_recall.
select
    space_id, name, provider, model, revision, dimensions, document_prefix, query_prefix, document_task,
    query_task, normalisation, index_type, hnsw_m, hnsw_ef_construction, texts, template, synonym_languages,
    vocabulary_release, (to_jsonb(space) ->> 'release_id')::integer as release_id, is_active, first_pass, partial, recall, partial_recall,
    to_jsonb(space) -> 'standard_recall' as standard_recall,
    is_active or selection is not null or not exists (
        select from omop_emb.build where build.space_id = space.space_id
    ) as is_complete,
    to_regclass(format('omop_emb.space_%s_hnsw', space_id)) is not null as has_index,
    array(
        select code::int
        from jsonb_object_keys(partial_recall) code
        where to_regclass(format('omop_emb.space_%s_hnsw_%s', space_id, code)) is not null
        order by 1
    ) as partial_domains,
    coalesce(
        (
            select nspname::text from pg_namespace
            where oid = (select extnamespace from pg_extension where extname = 'vector')
        ),
        'public'
    ) as vector_schema
from omop_emb.space
order by space_id
