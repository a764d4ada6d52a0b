-- The registry, and whether each space's HNSW index is there.
select
    space.*,
    to_regclass(format('omop_emb.space_%s_hnsw', space_id)) is not null as has_index
from omop_emb.space
order by space_id
