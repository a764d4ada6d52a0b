select extnamespace::regnamespace::text from pg_extension where extname = 'pg_trgm'
