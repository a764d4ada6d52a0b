-- Reviews: the terms of a file, what mapping suggests for each, and what people decide. Decisions are only ever added:
-- the latest of a term is its state (review_current), and undoing is a decision too.
create table omop_emb.review_project (
    project_id integer generated always as identity primary key,
    name text not null unique check (name <> ''),
    site text not null,                        -- whose memory and ranker are used, and who remembers the approvals
    file_name text not null,
    file_digest text not null,                 -- SHA-256 of the file
    settings jsonb not null,                   -- how the file was read: columns, encoding, separator, sheet …
    provenance jsonb,                          -- space, model, release and ranker of the first suggestions
    created_by text not null,
    created_at timestamptz not null default clock_timestamp(),
    read_at timestamptz,                       -- null while its terms are being read from the file
    ready_at timestamptz,                      -- null while they are being mapped
    reading jsonb not null default '{}'        -- number of terms, rows that are none, notes; why mapping stopped
);

-- The file as it came, in pieces, so that what nobody changed can be written byte for byte.
create table omop_emb.review_file (
    project_id integer not null references omop_emb.review_project on delete cascade,
    piece integer not null,
    content bytea not null,
    primary key (project_id, piece)
);

create table omop_emb.review_term (
    project_id integer not null references omop_emb.review_project on delete cascade,
    position integer not null,                 -- in the file, from 1
    line integer not null,                     -- of its first row in the file
    source_code text not null,
    source_name text not null,
    frequency bigint,
    domain text,                               -- that its concept must be in, several separated by |; null allows all
    text_key text not null,                    -- the name without case, punctuation and plural
    group_key text not null,                   -- text_key with domain and context: equal ones may be decided together
    term jsonb not null,                       -- the whole source term
    source_state text not null default '',     -- as the file says, such as AUTO_MAPPED_TO_1
    primary key (project_id, position)
);
create index review_term_text on omop_emb.review_term (project_id, text_key);
create index review_term_group on omop_emb.review_term (project_id, group_key);
create index review_term_code on omop_emb.review_term (project_id, source_code) where source_code <> '';

-- What mapping suggests: the latest result, replaced when approvals change the ranking.
create table omop_emb.review_suggestion (
    project_id integer not null,
    position integer not null,
    revision integer not null default 1,
    result text not null,                      -- the mapped term as JSON, see mapping/files/result_json.py
    concept_id integer not null,               -- the first candidate, 0 for none
    concept_name text not null,                -- its name, '' for none
    concept_domain text not null,              -- its domain, '' for none
    flags text[] not null default '{}',        -- kinds of difference between it and the term: laterality, strength …
    probability real,
    priority real not null,                    -- frequency x uncertainty
    changed_at timestamptz,                    -- when another candidate became the first; null if none did
    primary key (project_id, position),
    foreign key (project_id, position) references omop_emb.review_term on delete cascade
);
create index review_suggestion_concept on omop_emb.review_suggestion (project_id, concept_id);
create index review_suggestion_changed on omop_emb.review_suggestion (project_id, changed_at) where changed_at is not null;

-- Decisions on many terms at once.
create table omop_emb.review_batch (
    batch_id uuid primary key,
    project_id integer not null references omop_emb.review_project on delete cascade,
    kind text not null check (kind in ('bulk', 'group', 'import')),
    reviewer text not null,
    details jsonb not null,                    -- of a bulk approval: precision, threshold, expected errors
    created_at timestamptz not null default clock_timestamp()
);

create table omop_emb.review_decision (
    decision_id bigint generated always as identity primary key,
    project_id integer not null,
    position integer not null,
    version integer not null check (version > 0),   -- of the term: 1 is its first decision
    request_id uuid not null unique,           -- by which a repeated request is recognised
    reviewer text not null,
    decided_at timestamptz not null default clock_timestamp(),
    action text not null check (action in ('decide', 'undo', 'bulk', 'group', 'import', 'adjudicate')),
    state text not null check (state in ('unreviewed', 'approved', 'no match', 'flagged', 'ignored')),
    targets integer[] not null default '{}',
    mapping_types text[] not null default '{}',     -- of each target, MAPS_TO …
    equivalence text not null,
    comment text not null default '',
    revision integer,                          -- of the suggestion that was shown
    rank integer,                              -- of the candidate that was chosen; null if it was not suggested
    probability real,                          -- said for the first candidate then
    ranker text,                               -- that made the suggestion
    batch_id uuid references omop_emb.review_batch on delete cascade,
    undoes bigint references omop_emb.review_decision,
    unique (project_id, position, version),
    foreign key (project_id, position) references omop_emb.review_term on delete cascade,
    check (cardinality(targets) = cardinality(mapping_types)),
    check (state <> 'approved' or cardinality(targets) > 0),
    check (state <> 'no match' or cardinality(targets) = 0)
);
create index review_decision_reviewer on omop_emb.review_decision (project_id, reviewer, decision_id);
create index review_decision_batch on omop_emb.review_decision (batch_id) where batch_id is not null;
create index review_decision_targets on omop_emb.review_decision using gin (targets);
create index review_decision_undoes on omop_emb.review_decision (undoes) where undoes is not null;

-- Who is to review a term; the latest row counts, an empty name takes it back.
create table omop_emb.review_assignment (
    assignment_id bigint generated always as identity primary key,
    project_id integer not null,
    position integer not null,
    reviewer text not null,
    assigned_by text not null,
    assigned_at timestamptz not null default clock_timestamp(),
    foreign key (project_id, position) references omop_emb.review_term on delete cascade
);
create index review_assignment_term on omop_emb.review_assignment (project_id, position, assignment_id);

-- Terms that are decided again without sight of the first decision: by a second person, or to audit a finished file.
create table omop_emb.review_sample (
    sample_id integer generated always as identity primary key,
    project_id integer not null references omop_emb.review_project on delete cascade,
    kind text not null check (kind in ('second vote', 'audit')),
    reviewer text not null,                    -- who is asked; empty for anybody but who decided
    population integer not null,               -- terms that could be drawn
    seed bigint not null,                      -- of the draw, and of the order in which candidates are shown
    created_by text not null,
    created_at timestamptz not null default clock_timestamp()
);
create table omop_emb.review_sample_term (
    sample_id integer not null references omop_emb.review_sample on delete cascade,
    project_id integer not null,
    position integer not null,
    version integer not null,                  -- of the term when it was drawn
    domain text not null,                      -- of its decision then, '' for none: the stratum
    primary key (sample_id, position),
    foreign key (project_id, position) references omop_emb.review_term on delete cascade
);
create table omop_emb.review_vote (
    vote_id bigint generated always as identity primary key,
    sample_id integer not null,
    position integer not null,
    request_id uuid not null unique,
    reviewer text not null,
    voted_at timestamptz not null default clock_timestamp(),
    state text not null check (state in ('approved', 'no match', 'flagged', 'ignored')),
    targets integer[] not null default '{}',
    mapping_types text[] not null default '{}',
    equivalence text not null,
    comment text not null default '',
    foreign key (sample_id, position) references omop_emb.review_sample_term on delete cascade,
    check (cardinality(targets) = cardinality(mapping_types))
);
create index review_vote_term on omop_emb.review_vote (sample_id, position, vote_id);

-- Conflicts that somebody has looked at and found right; the latest row of a conflict counts. A conflict whose terms or
-- targets change so that it says something else is another one.
create table omop_emb.review_dismissal (
    dismissal_id bigint generated always as identity primary key,
    project_id integer not null references omop_emb.review_project on delete cascade,
    request_id uuid not null unique,
    conflict text not null,                    -- digest of what it says
    kind text not null,
    is_right boolean not null,                 -- false takes it back
    reason text not null default '',
    reviewer text not null,
    decided_at timestamptz not null default clock_timestamp()
);
create index review_dismissal_conflict on omop_emb.review_dismissal (project_id, conflict, dismissal_id);

create view omop_emb.review_current as
select
    term.project_id, term.position, term.source_code, term.source_name, term.frequency, term.domain, term.text_key,
    term.group_key, term.source_state,
    coalesce(decision.version, 0) as version, coalesce(decision.state, 'unreviewed') as state,
    coalesce(decision.targets, '{}') as targets, coalesce(decision.mapping_types, '{}') as mapping_types,
    coalesce(decision.equivalence, 'UNREVIEWED') as equivalence, coalesce(decision.comment, '') as comment,
    decision.decision_id, decision.reviewer, decision.decided_at, decision.action, decision.rank,
    decision.batch_id, coalesce(assignment.reviewer, '') as assigned_to
from omop_emb.review_term as term
left join lateral (
    select * from omop_emb.review_decision as latest
    where latest.project_id = term.project_id and latest.position = term.position
    order by latest.version desc limit 1
) as decision on true
left join lateral (
    select latest.reviewer from omop_emb.review_assignment as latest
    where latest.project_id = term.project_id and latest.position = term.position
    order by latest.assignment_id desc limit 1
) as assignment on true;
