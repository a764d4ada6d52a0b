create schema if not exists omop_emb;
create table if not exists omop_emb.migration (
    name text primary key,
    sha256 text not null,
    applied_at timestamptz not null default now()
);
