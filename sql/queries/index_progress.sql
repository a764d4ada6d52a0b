-- How far a connection's CREATE INDEX is; blocks of the table, which is what pgvector reports for HNSW.
select least(blocks_done::float8 / nullif(blocks_total, 0), 1)
from pg_stat_progress_create_index
where pid = %(pid)s
