-- A build of a space under way: one row, and one row for each piece of work that is still to be done.
-- The texts themselves stand in omop_emb.space_N_work, made with the build and dropped at its end.
create table omop_emb.build (
    space_id integer primary key references omop_emb.space on delete cascade,
    settings text not null,                    -- what is built; builders share a build only if theirs are equal
    vocabulary_release text,
    release_id integer,                        -- null for the vocabulary of a CDM
    started_at timestamptz not null default now(),
    lease_until timestamptz not null           -- until then the build counts as under way, piece claimed or not
);

-- A piece is claimed by setting builder and lease_until, and deleted in the transaction that writes its rows.
create table omop_emb.build_chunk (
    space_id integer not null references omop_emb.build on delete cascade,
    chunk integer not null,
    texts integer not null,                    -- different texts, each of which is embedded once
    characters bigint not null,
    builder uuid,
    lease_until timestamptz,
    primary key (space_id, chunk)
);

-- Texts that the model refused when they were last tried; the next build tries them again.
create table omop_emb.build_failure (
    space_id integer not null references omop_emb.space on delete cascade,
    concept_id integer not null,
    text_kind "char" not null,
    text_hash bigint not null,
    reason text not null,
    failed_at timestamptz not null default now(),
    primary key (space_id, concept_id, text_kind, text_hash)
);

-- Which concepts a space was last built from (a ConceptFilter as JSON); null before its first build.
alter table omop_emb.space add column selection jsonb;
