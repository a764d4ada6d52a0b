-- The schema omop_emb as it is today, for reading. Written by `make docs` from a migrated database; a test
-- compares. To change it, add a file to migrations/. Spaces and vocabulary releases have tables of their own,
-- created with them: space_N and space_N_text (here HNSW, 768 dimensions), and concept_N to relationship_N.

create table migration (
    name text primary key,
    sha256 text not null,
    applied_at timestamptz not null default now()
);

-- The registry of embedding spaces. Each space's rows stand in two tables of its own, made with the space:
-- omop_emb.space_N (keys, filter columns, vectors: narrow, it is scanned) and omop_emb.space_N_text (what is shown).
create table space (
    space_id integer generated always as identity primary key,
    name text not null unique check (name <> ''),
    fingerprint text not null,  -- SHA-256 of the eight columns that follow and normalisation
    provider text not null,
    model text not null,
    revision text not null,
    dimensions integer not null check (dimensions >= 1 and dimensions <= 16000),
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
    selection jsonb,  -- Which concepts a space was last built from (a ConceptFilter as JSON); null before its first build.
    first_pass text not null default '',  -- '', 'binary', or a number of first dimensions
    recall jsonb not null default '[]',  -- measured: [[k, ef_search, recall], …]
    partial text not null default 'auto',  -- 'auto', 'none', or domains, comma-separated
    partial_recall jsonb not null default '{}',  -- of each domain's index: {code: [[k, ef_search, recall], …]}
    recall_sample bigint[] not null default '{}',  -- some rows' hashes when that was measured
    release_id integer,  -- Release that a space was last built from; null for the vocabulary of a CDM, an import, or an earlier version's build.
    unique (fingerprint, index_type)
);
create unique index space_one_active on space (is_active) where is_active;

-- A random id per write. The set of a space's ids names its state: what was computed from one state is
-- stale under another. Rows are only inserted, so that writers do not wait for each other.
create table space_write (
    space_id integer not null references space(space_id) on delete cascade,
    write_id uuid not null default gen_random_uuid(),
    transaction_id xid8 not null default pg_current_xact_id()
);
create index space_write_space on space_write (space_id);

-- Domains, vocabularies and concept classes as two-byte codes; 0 stands for none.
create table label (
    code smallint generated always as identity primary key,
    kind text not null check (kind in ('domain', 'vocabulary', 'concept class')),
    label text not null,
    unique (kind, label)
);

-- Vocabulary releases. The tables of release N are made with it: omop_emb.concept_N, concept_synonym_N and so on.
-- A load fills new tables and then points to them, so that nobody who reads is disturbed or sees half a release.
create table vocabulary_release (
    release_id integer generated always as identity primary key,
    version text,  -- vocabulary_version of the vocabulary 'None'; null where there is none
    source text not null,  -- name of the folder or zip
    blank_names bigint not null default 0,  -- concepts without a name, as Athena delivers CPT4
    state text not null default 'loading' check (state in ('loading', 'active', 'previous', 'retired', 'dropped')),
    loaded_at timestamptz not null default now()
);
create unique index vocabulary_one_active on vocabulary_release (state) where state = 'active';
create unique index vocabulary_one_previous on vocabulary_release (state) where state = 'previous';

create table vocabulary_file (
    release_id integer not null references vocabulary_release(release_id) on delete cascade,
    table_name text not null,
    file_name text not null,
    sha256 text not null,  -- of the file itself, not of a zip around it
    row_count bigint not null,
    primary key (release_id, table_name)
);

-- Which domains, vocabularies and concept classes a release knows, and how many concepts each has.
create table vocabulary_value (
    release_id integer not null references vocabulary_release(release_id) on delete cascade,
    kind text not null check (kind in ('domain', 'vocabulary', 'concept class')),
    value text not null,
    concept_count bigint not null,
    primary key (release_id, kind, value)
);

-- A build of a space under way: one row, and one row for each piece of work that is still to be done.
-- The texts themselves stand in omop_emb.space_N_work, made with the build and dropped at its end.
create table build (
    space_id integer primary key references space(space_id) on delete cascade,
    settings text not null,  -- what is built; builders share a build only if theirs are equal
    vocabulary_release text,
    release_id integer,  -- null for the vocabulary of a CDM
    started_at timestamptz not null default now(),
    lease_until timestamptz not null  -- until then the build counts as under way, piece claimed or not
);

-- A piece is claimed by setting builder and lease_until, and deleted in the transaction that writes its rows.
create table build_chunk (
    space_id integer not null references build(space_id) on delete cascade,
    chunk integer not null,
    texts integer not null,  -- different texts, each of which is embedded once
    characters bigint not null,
    builder uuid,
    lease_until timestamptz,
    job_id integer references batch_job(job_id) on delete set null,  -- A piece whose texts a job is at; it is claimed to be submitted, found again and collected, not meanwhile.
    primary key (space_id, chunk)
);
create index build_chunk_job_id_idx on build_chunk (job_id) where job_id is not null;

-- Texts that the model refused when they were last tried; the next build tries them again.
create table build_failure (
    space_id integer not null references space(space_id) on delete cascade,
    concept_id integer not null,
    text_kind "char" not null,
    text_hash bigint not null,
    reason text not null,
    failed_at timestamptz not null default now(),
    primary key (space_id, concept_id, text_kind, text_hash)
);

-- Mappings that `omop-emb map` was asked to put into the database, in the columns of the CDM 5.4.
create table source_to_concept_map (
    source_code varchar(50) not null,
    source_concept_id integer not null,
    source_vocabulary_id varchar(20) not null,
    source_code_description varchar(255),
    target_concept_id integer not null,
    target_vocabulary_id varchar(20) not null,
    valid_start_date date not null,
    valid_end_date date not null,
    invalid_reason varchar(1)
);
create index source_to_concept_map_source on source_to_concept_map (source_vocabulary_id, source_code);

-- How many rows a space has of each combination of what is filtered by. It is brought up to date by builds:
-- searches choose their way by it, and are right whatever it says.
create table space_count (
    space_id integer not null references space(space_id) on delete cascade,
    domain smallint not null,
    vocabulary smallint not null,
    concept_class smallint not null,
    standard "char" not null,
    valid boolean not null,
    row_count bigint not null,
    primary key (space_id, domain, vocabulary, concept_class, standard, valid)
);

-- What a site has approved, the rankers that were trained on it, and results that were kept.
-- An approved source name is a further text of its target concept, for its site alone.
create table mapping_memory (
    memory_id bigint generated always as identity primary key,
    site text not null,
    source_code text not null default '',
    source_name text not null check (source_name <> ''),
    source_vocabulary text not null default '',
    concept_id integer not null,
    approved_from text not null,  -- name of the file that it came with
    approved_at timestamptz not null default now(),
    withdrawn_at timestamptz,
    unique (site, source_code, source_name, concept_id)
);
create index mapping_memory_site on mapping_memory (site) where withdrawn_at is null;

-- Vectors of approved names, as queries, by space: they go with their space and are made again by need.
create table mapping_memory_vector (
    space_id integer not null references space(space_id) on delete cascade,
    source_name_hash bytea not null,  -- SHA-256 of the name
    embedding halfvec not null,
    primary key (space_id, source_name_hash)
);

create table mapping_ranker (
    ranker_id integer generated always as identity primary key,
    site text not null,
    fingerprint text not null,  -- of the space whose scores it learned from
    kind text not null check (kind in ('linear', 'trees')),
    model text not null,  -- JSON of a linear ranker, LightGBM's own text of trees
    calibration jsonb not null,
    figures jsonb not null,  -- what cross-validation found
    trained_on jsonb not null,  -- files with their SHA-256 and number of terms, version, features
    created_at timestamptz not null default now(),
    is_active boolean not null default true,
    name text not null unique,
    learned_terms bytea not null default '\x'::bytea,  -- 8 bytes of the SHA-256 of each code and name
    withdrawn_terms integer not null default 0  -- how many of them were withdrawn since
);
create unique index mapping_ranker_one_active on mapping_ranker (site, fingerprint) where is_active;

create table mapping_run (
    run_id integer generated always as identity primary key,
    site text not null,
    input text not null,
    provenance jsonb not null,
    created_at timestamptz not null default now()
);

create table mapping_result (
    run_id integer not null references mapping_run(run_id) on delete cascade,
    place integer not null,  -- of the term in its file
    source_code text not null,
    source_name text not null,
    rank integer not null,  -- 0 where the term has no candidate
    concept_id integer not null,  -- 0 where the term has no candidate
    score real,
    probability real,
    decision text not null check (decision in ('accept', 'review', 'no match')),
    result jsonb not null,
    primary key (run_id, place, rank)
);

-- Batch jobs that a provider works on for a space. A row is committed before its job is submitted, and its name
-- before the job is first asked about, so that no job is lost or begun twice whatever ends a build.
create table batch_job (
    job_id integer generated always as identity primary key,
    space_id integer not null references space(space_id) on delete cascade,
    label text not null unique,  -- ours; finds the job if its name never came back
    name text,  -- the provider's; null until it has answered
    cancelled boolean not null default false,
    submitted_at timestamptz not null default now()
);

-- The texts that a job is to answer, as SHA-256 of what is embedded, prefix left out.
create table batch_text (
    job_id integer not null references batch_job(job_id) on delete cascade,
    text_key bytea not null,
    primary key (job_id, text_key)
);

-- Query vectors kept for the next time, for clients that are given this store. The key is a SHA-256 of all that
-- shapes a vector, and of the text, which stands nowhere.
create table query_vector (
    key bytea primary key,
    vector bytea not null,  -- float32, little endian
    used_at timestamptz not null default now()
);
create index query_vector_used_at_idx on query_vector (used_at);

create table space_N (
    text_hash bigint not null,
    concept_id integer not null,
    domain smallint not null,
    vocabulary smallint not null,
    concept_class smallint not null,
    text_kind "char" not null,
    standard "char" not null,
    valid boolean not null,
    embedding halfvec(768) not null,
    primary key (concept_id, text_kind, text_hash)
);
create index space_N_domain_vocabulary_concept_class_idx on space_N (domain, vocabulary, concept_class);
create index space_N_hnsw on space_N using hnsw (embedding halfvec_cosine_ops) with (m='16', ef_construction='64');

create table space_N_text (
    concept_id integer not null,
    text_kind "char" not null,
    text_hash bigint not null,
    text text not null,
    concept_name text not null,
    domain_id text,
    vocabulary_id text,
    concept_class_id text,
    standard_concept text,
    concept_code text,
    invalid_reason text,
    vector_hash bigint,
    primary key (concept_id, text_kind, text_hash)
);

create table concept_N (
    concept_id integer primary key,
    concept_name text,
    domain_id text,
    vocabulary_id text,
    concept_class_id text,
    standard_concept text,
    concept_code text,
    valid_start_date date,
    valid_end_date date,
    invalid_reason text
);
create index concept_N_concept_code_vocabulary_id_idx on concept_N (concept_code, vocabulary_id);
create index concept_N_lower_idx on concept_N (lower(concept_name));
create index concept_N_lower_idx1 on concept_N using gin (lower(concept_name) gin_trgm_ops) where standard_concept = 'S' and invalid_reason is null;

create table concept_synonym_N (
    concept_id integer not null,
    concept_synonym_name text,
    language_concept_id integer
);
create index concept_synonym_N_concept_id_idx on concept_synonym_N (concept_id);

create table concept_relationship_N (
    concept_id_1 integer not null,
    concept_id_2 integer not null,
    relationship_id text not null,
    valid_start_date date,
    valid_end_date date,
    invalid_reason text,
    primary key (concept_id_1, relationship_id, concept_id_2)
);

create table concept_ancestor_N (
    ancestor_concept_id integer not null,
    descendant_concept_id integer not null,
    min_levels_of_separation integer,
    max_levels_of_separation integer,
    primary key (descendant_concept_id, ancestor_concept_id)
);

create table vocabulary_N (
    vocabulary_id text primary key,
    vocabulary_name text,
    vocabulary_reference text,
    vocabulary_version text,
    vocabulary_concept_id integer
);

create table domain_N (
    domain_id text primary key,
    domain_name text,
    domain_concept_id integer
);

create table concept_class_N (
    concept_class_id text primary key,
    concept_class_name text,
    concept_class_concept_id integer
);

create table relationship_N (
    relationship_id text primary key,
    relationship_name text,
    is_hierarchical text,
    defines_ancestry text,
    reverse_relationship_id text,
    relationship_concept_id integer
);

CREATE OR REPLACE FUNCTION omop_emb.pin_vocabulary()
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
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
$function$;
