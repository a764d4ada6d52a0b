-- Tables and sequences of the schema omop_emb and tables of a CDM (%(tables)s), with the valid indexes of both and of
-- their TOAST tables. A TOAST table is read with its table. lists_rows is true for one B-tree index of each table, the
-- smallest that has all its rows.
with tables as (
    select c.oid, c.relkind, c.reltoastrelid, pg_table_size(c.oid) as bytes,
        has_table_privilege(c.oid, 'select') as may_read
    from pg_class c
    where c.relkind in ('r', 'm', 'S')
        and (c.relnamespace = to_regnamespace('omop_emb') or c.oid = any(%(tables)s::regclass[]::oid[]))
), indexes as (
    select i.indexrelid as oid, t.oid as table_oid, a.amname::text as method, pg_relation_size(i.indexrelid) as bytes,
        t.may_read, a.amname = 'btree' and i.indpred is null and i.indrelid = t.oid as has_all_rows
    from tables t
        join pg_index i on i.indrelid in (t.oid, nullif(t.reltoastrelid, 0)) and i.indisvalid and i.indisready
        join pg_class c on c.oid = i.indexrelid
        join pg_am a on a.oid = c.relam
), relations as (
    select oid, oid as table_oid, case relkind when 'S' then 'sequence' else 'table' end as kind, '' as method, bytes,
        may_read, false as lists_rows
    from tables
    union all
    select oid, table_oid, 'index', method, bytes, may_read,
        has_all_rows and 1 = row_number() over (partition by table_oid, has_all_rows order by bytes, oid)
    from indexes
)
select r.oid::bigint, n.nspname::text as schema, c.relname::text as own_name, r.kind, r.method, r.bytes, r.may_read,
    r.lists_rows
from relations r join pg_class c on c.oid = r.oid join pg_namespace n on n.oid = c.relnamespace
order by sum(r.bytes) over (partition by r.table_oid), r.table_oid, r.kind = 'index', r.oid
