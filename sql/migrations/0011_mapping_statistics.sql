-- How rare each 3-gram and word of a vocabulary is, so that a few terms can be compared with what is near them in
-- the same measure as many terms with the whole vocabulary, without reading it.
create table omop_emb.mapping_statistics (
    state text primary key,                    -- of the vocabulary and of the code that tells words apart
    contents bytea not null,                   -- arrays, as numpy writes them
    made_at timestamptz not null default now()
);
