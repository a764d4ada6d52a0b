-- Schema and name of an index's table; none for a TOAST table.
select t.relnamespace::regnamespace::text, t.relname::text
from pg_index i join pg_class t on t.oid = i.indrelid
where i.indexrelid = %s::oid and t.relkind <> 't'
