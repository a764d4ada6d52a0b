select exists (
    select from pg_indexes
    where schemaname = %(schema)s and tablename = %(table)s and position('gin_trgm_ops' in indexdef) > 0
)
