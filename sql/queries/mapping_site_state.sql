-- A site's approvals that are not withdrawn, as a set of ids, and its rankers that are in use.
select
    count(*), coalesce(sum(memory_id), 0)::text, coalesce(bit_xor(hashint8extended(memory_id, 0)), 0),
    (
        select array_agg(ranker_id order by ranker_id) from omop_emb.mapping_ranker
        where site = %(site)s and is_active
    )
from omop_emb.mapping_memory
where site = %(site)s and withdrawn_at is null
