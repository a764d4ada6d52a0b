-- Indexes of a space's tables that are unusable, as after an interruption.
select c.relname
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indrelid in (%(rows)s::regclass, %(texts)s::regclass) and not (i.indisvalid and i.indisready)
order by c.relname
