-- What tells whether the spaces are as they were read before: each version of a row has an xmin and a place of
-- its own while a server runs. What is not in the row itself stands beside it: whether a first build is under
-- way, and which vector index there is. Reading all of it anew takes twice as long.
select
    space_id, xmin, ctid, pg_postmaster_start_time(),
    is_active or selection is not null or not exists (
        select from omop_emb.build where build.space_id = space.space_id
    ),
    to_regclass('omop_emb.space_' || space_id || '_hnsw')
from omop_emb.space
