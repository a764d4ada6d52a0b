-- Tables, views, materialised views, partitioned and foreign tables of a schema, whatever the case of their
-- names; with their columns, and whether their concept_id may hold more than 32 bits.
select c.relname, array_agg(a.attname::text order by a.attnum),
    bool_or(a.attname = 'concept_id' and a.atttypid in ('bigint'::regtype, 'numeric'::regtype))
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = (select oid from pg_namespace where nspname = %(schema)s)
    and lower(c.relname) = any(%(tables)s) and c.relkind in ('r', 'v', 'm', 'p', 'f')
group by c.relname
