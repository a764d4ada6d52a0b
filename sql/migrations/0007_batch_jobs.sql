-- Batch jobs that a provider works on for a space. A row is committed before its job is submitted, and its name
-- before the job is first asked about, so that no job is lost or begun twice whatever ends a build.
create table omop_emb.batch_job (
    job_id integer generated always as identity primary key,
    space_id integer not null references omop_emb.space on delete cascade,
    label text not null unique,                -- ours; finds the job if its name never came back
    name text,                                 -- the provider's; null until it has answered
    cancelled boolean not null default false,
    submitted_at timestamptz not null default now()
);

-- The texts that a job is to answer, as SHA-256 of what is embedded, prefix left out.
create table omop_emb.batch_text (
    job_id integer not null references omop_emb.batch_job on delete cascade,
    text_key bytea not null,
    primary key (job_id, text_key)
);

-- A piece whose texts a job is at; it is claimed to be submitted, found again and collected, not meanwhile.
alter table omop_emb.build_chunk add column job_id integer references omop_emb.batch_job on delete set null;
create index on omop_emb.build_chunk (job_id) where job_id is not null;
