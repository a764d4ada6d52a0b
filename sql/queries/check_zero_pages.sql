-- The pages of an index that hold zeros alone.
select count(*)
from generate_series(0, pg_relation_size(%(index)s::oid) / current_setting('block_size')::int - 1) b
where ({schema}.page_header({schema}.get_raw_page(%(index)s::oid::regclass::text, b::int))).upper = 0
