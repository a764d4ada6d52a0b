-- What a site has approved, the rankers that were trained on it, and results that were kept.
-- An approved source name is a further text of its target concept, for its site alone.
create table omop_emb.mapping_memory (
    memory_id bigint generated always as identity primary key,
    site text not null,
    source_code text not null default '',
    source_name text not null check (source_name <> ''),
    source_vocabulary text not null default '',
    concept_id integer not null,
    approved_from text not null,               -- name of the file that it came with
    approved_at timestamptz not null default now(),
    withdrawn_at timestamptz,
    unique (site, source_code, source_name, concept_id)
);
create index mapping_memory_site on omop_emb.mapping_memory (site) where withdrawn_at is null;

-- Vectors of approved names, as queries, by space: they go with their space and are made again by need.
create table omop_emb.mapping_memory_vector (
    space_id integer not null references omop_emb.space on delete cascade,
    source_name_hash bytea not null,           -- SHA-256 of the name
    embedding halfvec not null,
    primary key (space_id, source_name_hash)
);

create table omop_emb.mapping_ranker (
    ranker_id integer generated always as identity primary key,
    site text not null,
    fingerprint text not null,                 -- of the space whose scores it learned from
    kind text not null check (kind in ('linear', 'trees')),
    model text not null,                       -- JSON of a linear ranker, LightGBM's own text of trees
    calibration jsonb not null,
    figures jsonb not null,                    -- what cross-validation found
    trained_on jsonb not null,                 -- files with their SHA-256 and number of terms, version, features
    created_at timestamptz not null default now(),
    is_active boolean not null default true
);
create unique index mapping_ranker_one_active on omop_emb.mapping_ranker (site, fingerprint) where is_active;

create table omop_emb.mapping_run (
    run_id integer generated always as identity primary key,
    site text not null,
    input text not null,
    provenance jsonb not null,
    created_at timestamptz not null default now()
);

create table omop_emb.mapping_result (
    run_id integer not null references omop_emb.mapping_run on delete cascade,
    place integer not null,                    -- of the term in its file
    source_code text not null,
    source_name text not null,
    rank integer not null,                     -- 0 where the term has no candidate
    concept_id integer not null,               -- 0 where the term has no candidate
    score real,
    probability real,
    decision text not null check (decision in ('accept', 'review', 'no match')),
    result jsonb not null,
    primary key (run_id, place, rank)
);
