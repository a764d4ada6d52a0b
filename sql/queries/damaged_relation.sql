-- Kind and name of a relation of ours, by its file's number or its name; a TOAST table counts as its table.
select
    case when c.relkind = 'i' then 'index' else 'table' end,
    format('%%I.%%I', c.relnamespace::regnamespace, c.relname)
from (
    select coalesce(owner.oid, found.oid) as oid
    from pg_class found
        left join pg_index of_toast on of_toast.indexrelid = found.oid
        left join pg_class owner on owner.reltoastrelid in (found.oid, of_toast.indrelid)
    where pg_relation_filenode(found.oid) = %(file)s::bigint or found.relname = %(name)s::text
) as damaged
    join pg_class c using (oid)
where c.relkind in ('r', 'i', 'm', 'S')
order by c.relnamespace <> 'omop_emb'::regnamespace
limit 1
