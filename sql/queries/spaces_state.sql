-- Equal results mean that the spaces are unchanged: each version of a row has its own xmin and ctid while a server
-- runs. Whether a first build is running and which vector index exists is not in the row, nor is the loaded release,
-- with which a space is compared.
select
    space_id, xmin, ctid, pg_postmaster_start_time(),
    is_active or selection is not null or not exists (
        select from omop_emb.build where build.space_id = space.space_id
    ),
    to_regclass('omop_emb.space_' || space_id || '_hnsw'),
    (select release_id from omop_emb.vocabulary_release where state = 'active')
from omop_emb.space
