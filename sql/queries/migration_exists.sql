-- Not to_regclass(): what it remembers of a missing schema may be older than the lock that was waited for.
select exists (
    select from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'omop_emb' and c.relname = 'migration'
)
