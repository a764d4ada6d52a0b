-- Whether the tables of a CDM were written to: their files, sizes and counts of changes, which the server reports up
-- to ten seconds after a commit. A view has none of these.
select
    relname, oid::bigint, relfilenode::bigint, pg_relation_size(oid), pg_stat_get_tuples_inserted(oid),
    pg_stat_get_tuples_updated(oid), pg_stat_get_tuples_deleted(oid)
from pg_class
where relnamespace = to_regnamespace(quote_ident(%(schema)s)) and relname = any(%(tables)s) and relkind in ('r', 'p', 'm')
order by relname
