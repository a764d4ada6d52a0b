select (select count(*) from {rows}),
       coalesce((select i.indisvalid and i.indisready from pg_index i
                 where i.indexrelid = to_regclass('omop_emb.' || quote_ident(%(index_name)s))), false)
