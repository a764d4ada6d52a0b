-- What check_database() judges; nothing is locked or changed.
select current_setting('server_version_num')::int / 10000 as major,
       split_part(current_setting('server_version'), ' ', 1) as server_version,
       current_database()::text as database,
       current_user::text as "user",
       current_setting('server_encoding') as encoding,
       current_setting('transaction_read_only')::bool as read_only,
       (select rolsuper from pg_roles where rolname = current_user) as is_superuser,
       has_database_privilege(current_database(), 'create') as may_create_schema,
       (select has_schema_privilege(oid, 'create') from pg_namespace where nspname = 'omop_emb') as may_use_schema,
       (select extversion from pg_extension where extname = 'vector') as installed_pgvector,
       (select default_version from pg_available_extensions where name = 'vector') as available_pgvector
