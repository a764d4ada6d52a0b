-- A digest of the ids of a space's writes, and whether this transaction is one of the writers.
select
    encode(
        sha256(convert_to(coalesce(string_agg(write_id::text, ' ' order by write_id), ''), 'UTF8')), 'hex'
    ),
    coalesce(bool_or(transaction_id = pg_current_xact_id_if_assigned()), false)
from omop_emb.space_write
where space_id = %(space_id)s
