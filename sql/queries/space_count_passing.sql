-- Rows that pass, all rows and those of the filter's domains as last counted, and what the server's own statistics think of their number.
select
    coalesce(sum(row_count) filter (where {condition}), 0)::bigint,
    coalesce(sum(row_count), 0)::bigint,
    coalesce(sum(row_count) filter (where {domains}), 0)::bigint,
    (select reltuples::bigint from pg_class where oid = to_regclass(%(rows)s))
from omop_emb.space_count
where space_id = %(space_id)s
