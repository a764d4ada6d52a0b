-- As last counted: rows that pass, all rows, rows of the filter's domains. And the server's estimate of all rows.
select
    coalesce(sum(row_count) filter (where {condition}), 0)::bigint,
    coalesce(sum(row_count), 0)::bigint,
    coalesce(sum(row_count) filter (where {domains}), 0)::bigint,
    (select reltuples::bigint from pg_class where oid = to_regclass(%(rows)s))
from omop_emb.space_count
where space_id = %(space_id)s
