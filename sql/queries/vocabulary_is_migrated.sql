select exists (
    select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'omop_emb' and p.proname = 'pin_vocabulary'
)
