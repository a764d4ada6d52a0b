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
    standard_recall jsonb not null default '{}',  -- of standard and valid concepts alone: {code, "" for all: …}
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

-- Reviews: the terms of a file, what mapping suggests for each, and what people decide. Decisions are only ever added:
-- the latest of a term is its state (review_current), and undoing is a decision too.
create table review_project (
    project_id integer generated always as identity primary key,
    name text not null unique check (name <> ''),
    site text not null,  -- whose memory and ranker are used, and who remembers the approvals
    file_name text not null,
    file_digest text not null,  -- SHA-256 of the file
    settings jsonb not null,  -- how the file was read: columns, encoding, separator, sheet …
    provenance jsonb,  -- space, model, release and ranker of the first suggestions
    created_by text not null,
    created_at timestamptz not null default clock_timestamp(),
    read_at timestamptz,  -- null while its terms are being read from the file
    ready_at timestamptz,  -- null while they are being mapped
    reading jsonb not null default '{}'  -- number of terms, rows that are none, notes; why mapping stopped
);

-- The file as it came, in pieces, so that what nobody changed can be written byte for byte.
create table review_file (
    project_id integer not null references review_project(project_id) on delete cascade,
    piece integer not null,
    content bytea not null,
    primary key (project_id, piece)
);

create table review_term (
    project_id integer not null references review_project(project_id) on delete cascade,
    position integer not null,  -- in the file, from 1
    line integer not null,  -- of its first row in the file
    source_code text not null,
    source_name text not null,
    frequency bigint,
    domain text,  -- that its concept must be in, several separated by |; null allows all
    text_key text not null,  -- the name without case, punctuation and plural
    group_key text not null,  -- text_key with domain and context: equal ones may be decided together
    term jsonb not null,  -- the whole source term
    source_state text not null default '',  -- as the file says, such as AUTO_MAPPED_TO_1
    primary key (project_id, "position")
);
create index review_term_code on review_term (project_id, source_code) where source_code <> '';
create index review_term_group on review_term (project_id, group_key);
create index review_term_text on review_term (project_id, text_key);

-- What mapping suggests: the latest result, replaced when approvals change the ranking.
create table review_suggestion (
    project_id integer not null,
    position integer not null,
    revision integer not null default 1,
    result text not null,  -- the mapped term as JSON, see mapping/files/result_json.py
    concept_id integer not null,  -- the first candidate, 0 for none
    concept_name text not null,  -- its name, '' for none
    concept_domain text not null,  -- its domain, '' for none
    flags text[] not null default '{}'[],  -- kinds of difference between it and the term: laterality, strength …
    probability real,
    priority real not null,  -- frequency x uncertainty
    changed_at timestamptz,  -- when another candidate became the first; null if none did
    primary key (project_id, "position"),
    foreign key (project_id, "position") references review_term(project_id, "position") on delete cascade
);
create index review_suggestion_changed on review_suggestion (project_id, changed_at) where changed_at is not null;
create index review_suggestion_concept on review_suggestion (project_id, concept_id);

-- Decisions on many terms at once.
create table review_batch (
    batch_id uuid primary key,
    project_id integer not null references review_project(project_id) on delete cascade,
    kind text not null check (kind in ('bulk', 'group', 'import')),
    reviewer text not null,
    details jsonb not null,  -- of a bulk approval: precision, threshold, expected errors
    created_at timestamptz not null default clock_timestamp()
);

create table review_decision (
    decision_id bigint generated always as identity primary key,
    project_id integer not null,
    position integer not null,
    version integer not null check (version > 0),  -- of the term: 1 is its first decision
    request_id uuid not null unique,  -- by which a repeated request is recognised
    reviewer text not null,
    decided_at timestamptz not null default clock_timestamp(),
    action text not null check (action in ('decide', 'undo', 'bulk', 'group', 'import', 'adjudicate')),
    state text not null check (state in ('unreviewed', 'approved', 'no match', 'flagged', 'ignored')),
    targets integer[] not null default '{}',
    mapping_types text[] not null default '{}'[],  -- of each target, MAPS_TO …
    equivalence text not null,
    comment text not null default '',
    revision integer,  -- of the suggestion that was shown
    rank integer,  -- of the candidate that was chosen; null if it was not suggested
    probability real,  -- said for the first candidate then
    ranker text,  -- that made the suggestion
    batch_id uuid references review_batch(batch_id) on delete cascade,
    undoes bigint references review_decision(decision_id),
    unique (project_id, "position", version),
    check (cardinality(targets) = cardinality(mapping_types)),
    check (state <> 'approved' or cardinality(targets) > 0),
    check (state <> 'no match' or cardinality(targets) = 0),
    foreign key (project_id, "position") references review_term(project_id, "position") on delete cascade
);
create index review_decision_batch on review_decision (batch_id) where batch_id is not null;
create index review_decision_reviewer on review_decision (project_id, reviewer, decision_id);
create index review_decision_targets on review_decision using gin (targets);
create index review_decision_undoes on review_decision (undoes) where undoes is not null;

-- Who is to review a term; the latest row counts, an empty name takes it back.
create table review_assignment (
    assignment_id bigint generated always as identity primary key,
    project_id integer not null,
    position integer not null,
    reviewer text not null,
    assigned_by text not null,
    assigned_at timestamptz not null default clock_timestamp(),
    foreign key (project_id, "position") references review_term(project_id, "position") on delete cascade
);
create index review_assignment_term on review_assignment (project_id, "position", assignment_id);

-- Terms that are decided again without sight of the first decision: by a second person, or to audit a finished file.
create table review_sample (
    sample_id integer generated always as identity primary key,
    project_id integer not null references review_project(project_id) on delete cascade,
    kind text not null check (kind in ('second vote', 'audit')),
    reviewer text not null,  -- who is asked; empty for anybody but who decided
    population integer not null,  -- terms that could be drawn
    seed bigint not null,  -- of the draw, and of the order in which candidates are shown
    created_by text not null,
    created_at timestamptz not null default clock_timestamp()
);

create table review_sample_term (
    sample_id integer not null references review_sample(sample_id) on delete cascade,
    project_id integer not null,
    position integer not null,
    version integer not null,  -- of the term when it was drawn
    domain text not null,  -- of its decision then, '' for none: the stratum
    primary key (sample_id, "position"),
    foreign key (project_id, "position") references review_term(project_id, "position") on delete cascade
);

create table review_vote (
    vote_id bigint generated always as identity primary key,
    sample_id integer not null,
    position integer not null,
    request_id uuid not null unique,
    reviewer text not null,
    voted_at timestamptz not null default clock_timestamp(),
    state text not null check (state in ('approved', 'no match', 'flagged', 'ignored')),
    targets integer[] not null default '{}',
    mapping_types text[] not null default '{}'[],
    equivalence text not null,
    comment text not null default '',
    check (cardinality(targets) = cardinality(mapping_types)),
    foreign key (sample_id, "position") references review_sample_term(sample_id, "position") on delete cascade
);
create index review_vote_term on review_vote (sample_id, "position", vote_id);

-- Conflicts that somebody has looked at and found right; the latest row of a conflict counts. A conflict whose terms or
-- targets change so that it says something else is another one.
create table review_dismissal (
    dismissal_id bigint generated always as identity primary key,
    project_id integer not null references review_project(project_id) on delete cascade,
    request_id uuid not null unique,
    conflict text not null,  -- digest of what it says
    kind text not null,
    is_right boolean not null,  -- false takes it back
    reason text not null default '',
    reviewer text not null,
    decided_at timestamptz not null default clock_timestamp()
);
create index review_dismissal_conflict on review_dismissal (project_id, conflict, dismissal_id);

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
create index concept_ancestor_N_ancestor_concept_id_min_levels_of_separa_idx on concept_ancestor_N (ancestor_concept_id, min_levels_of_separation);

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
