-- Query vectors kept for the next time, for clients that are given this store. The key is a SHA-256 of all that
-- shapes a vector, and of the text, which stands nowhere.
create table omop_emb.query_vector (
    key bytea primary key,
    vector bytea not null,                     -- float32, little endian
    used_at timestamptz not null default now()
);
create index on omop_emb.query_vector (used_at);
