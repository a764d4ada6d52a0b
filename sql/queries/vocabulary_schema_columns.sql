-- Tables, views, materialised views, partitioned and foreign tables of a schema, with their columns.
select c.relname, array_agg(a.attname::text)
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = (select oid from pg_namespace where nspname = %(schema)s)
    and c.relname = any(%(tables)s) and c.relkind in ('r', 'v', 'm', 'p', 'f')
group by c.relname
