-- Extensions and their schemas.
select extname::text, extnamespace::regnamespace::text from pg_extension where extname = any(%s)
