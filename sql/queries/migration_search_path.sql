-- Migrations name pgvector's types without a schema, and some databases have it in a schema that they do not search.
select set_config('search_path', extnamespace::regnamespace::text, true) from pg_extension where extname = 'vector'
