select nspname::text from pg_namespace where oid = (select extnamespace from pg_extension where extname = 'pg_trgm')
