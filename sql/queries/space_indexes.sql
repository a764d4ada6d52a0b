-- The vector indexes of a space's row table: name, whether it is usable, bytes on disk.
select c.relname, i.indisvalid and i.indisready, pg_relation_size(c.oid)
from pg_index i
join pg_class c on c.oid = i.indexrelid
where i.indrelid = to_regclass(%(rows)s) and c.relname ~ '_hnsw(_[0-9]+)?$'
order by c.oid
