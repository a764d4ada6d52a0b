-- Vocabulary releases. The tables of release N are made with it: omop_emb.concept_N, concept_synonym_N and so on.
-- A load fills new tables and then points to them, so that nobody who reads is disturbed or sees half a release.
create table omop_emb.vocabulary_release (
    release_id integer generated always as identity primary key,
    version text,                              -- vocabulary_version of the vocabulary 'None'; null where there is none
    source text not null,                      -- name of the folder or zip
    blank_names bigint not null default 0,     -- concepts without a name, as Athena delivers CPT4
    state text not null default 'loading' check (state in ('loading', 'active', 'retired', 'dropped')),
    loaded_at timestamptz not null default now()
);
create unique index vocabulary_one_active on omop_emb.vocabulary_release (state) where state = 'active';

create table omop_emb.vocabulary_file (
    release_id integer not null references omop_emb.vocabulary_release on delete cascade,
    table_name text not null,
    file_name text not null,
    sha256 text not null,                      -- of the file itself, not of a zip around it
    row_count bigint not null,
    primary key (release_id, table_name)
);

-- Which domains, vocabularies and concept classes a release knows, and how many concepts each has.
create table omop_emb.vocabulary_value (
    release_id integer not null references omop_emb.vocabulary_release on delete cascade,
    kind text not null check (kind in ('domain', 'vocabulary', 'concept class')),
    value text not null,
    concept_count bigint not null,
    primary key (release_id, kind, value)
);

-- The active release, its concepts locked against removal until the caller's transaction ends.
create function omop_emb.pin_vocabulary() returns integer language plpgsql as $$
declare
    found_id integer;
begin
    for attempt in 1..10 loop
        select release_id into found_id from omop_emb.vocabulary_release where state = 'active';
        if found_id is null then
            return null;
        end if;
        begin
            execute format('lock table omop_emb.%I in access share mode', 'concept_' || found_id);
            return found_id;
        exception when undefined_table then
            null; -- replaced and removed between the two statements: look again
        end;
    end loop;
    return null;
end
$$;
