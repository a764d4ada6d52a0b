-- What a mapping is made with in the active space: equal results mean that nothing of it has changed. Whether the
-- tables of approvals and rankers exist is the last column, as an older schema lacks them.
select
    space.space_id, space.name, space.fingerprint, space.texts, space.vocabulary_release, space.release_id,
    space.selection is not null or not exists (
        select from omop_emb.build where build.space_id = space.space_id
    ),
    (
        select md5(string_agg(write_id::text, ' ' order by write_id))
        from omop_emb.space_write where space_write.space_id = space.space_id
    ),
    (select release_id from omop_emb.vocabulary_release where state = 'active'),
    to_regclass('omop_emb.mapping_ranker') is not null
from omop_emb.space
where space.is_active
