-- The rows of a table, each of which is read whole, values that are stored elsewhere too.
select count(*), max(octet_length(pg_catalog.record_send(t.*))) from {table} t
