-- The registry of embedding spaces. Each space's rows stand in two tables of its own, made with the space:
-- omop_emb.space_N (keys, filter columns, vectors: narrow, it is scanned) and omop_emb.space_N_text (what is shown).
create extension if not exists vector;

create table omop_emb.space (
    space_id integer generated always as identity primary key,
    name text not null unique check (name <> ''),
    fingerprint text not null,                 -- SHA-256 of the eight columns that follow and normalisation
    provider text not null,
    model text not null,
    revision text not null,
    dimensions integer not null check (dimensions between 1 and 16000),
    document_prefix text not null,
    query_prefix text not null,
    document_task text not null,
    query_task text not null,
    normalisation text not null,
    index_type text not null check (index_type in ('flat', 'hnsw')),
    hnsw_m integer not null default 16,
    hnsw_ef_construction integer not null default 64,
    texts text not null default 'name+synonyms',
    template text not null default '',
    synonym_languages integer[] not null default '{4180186}',
    vocabulary_release text,
    is_active boolean not null default false,
    created_at timestamptz not null default now(),
    unique (fingerprint, index_type)
);
create unique index space_one_active on omop_emb.space (is_active) where is_active;

-- A random id per write. The set of a space's ids names its state: what was computed from one state is
-- stale under another. Rows are only inserted, so that writers do not wait for each other.
create table omop_emb.space_write (
    space_id integer not null references omop_emb.space on delete cascade,
    write_id uuid not null default gen_random_uuid(),
    transaction_id xid8 not null default pg_current_xact_id()
);
create index space_write_space on omop_emb.space_write (space_id);

-- Domains, vocabularies and concept classes as two-byte codes; 0 stands for none.
create table omop_emb.label (
    code smallint generated always as identity primary key,
    kind text not null check (kind in ('domain', 'vocabulary', 'concept class')),
    label text not null,
    unique (kind, label)
);
