-- Files in this database's folder that belong to none of its relations: "leftover FOLDER: NAMES", or no row. For
-- single-user mode, where no other transaction can own a new file. If a catalogue lacks rows that another names, or a
-- prepared transaction waits, nothing is certain, and no file is given. In one statement, as lines end statements there.
with files as (
    select name, substring(name from '^[0-9]+') as number
    from pg_database d, pg_ls_dir('base/' || d.oid) name
    where d.datname = current_database() and name ~ '^[0-9]+(_(fsm|vm|init))?([.][0-9]+)?$'
), relations as (
    select pg_relation_filenode(oid)::text as number from pg_class
), leftovers as (
    select name from files f
    where f.number::bigint >= 16384
        and not exists (select from relations r where r.number = f.number)
        and not exists (select from pg_class c where c.relfilenode::text = f.number or c.oid::text = f.number)
)
select format('leftover %s: %s', (select oid from pg_database where datname = current_database()), string_agg(name, ' '))
from leftovers
where not exists (select from pg_prepared_xacts)
    and not exists (select from pg_attribute a where not exists (select from pg_class c where c.oid = a.attrelid))
    and not exists (select from pg_index i where not exists (select from pg_class c where c.oid = i.indexrelid))
    and not exists (select from pg_type t where t.typrelid <> 0 and not exists (select from pg_class c where c.oid = t.typrelid))
    and not exists (select from pg_class c where c.reltoastrelid <> 0 and not exists (select from pg_class t where t.oid = c.reltoastrelid))
    and not exists (select from relations r where r.number <> '0' and not exists (select from files f where f.number = r.number) and r.number in (select relfilenode::text from pg_class where reltablespace = 0))
having count(*) > 0
