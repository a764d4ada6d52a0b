-- Not to_regclass(): it may have cached a missing schema before it waited for the lock.
select exists (
    select from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'omop_emb' and c.relname = 'migration'
)
