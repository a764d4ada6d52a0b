-- How a space's vector indexes are made, and what a search was found to gain from them.
alter table omop_emb.space
    add column first_pass text not null default '',           -- '', 'binary', or a number of first dimensions
    add column partial_domains smallint[] not null default '{}', -- domains that have a partial index
    add column recall jsonb not null default '[]';            -- measured: [[k, ef_search, recall], …]

-- How many rows a space has of each combination of what is filtered by. It is brought up to date by builds:
-- searches choose their way by it, and are right whatever it says.
create table omop_emb.space_count (
    space_id integer not null references omop_emb.space on delete cascade,
    domain smallint not null,
    vocabulary smallint not null,
    concept_class smallint not null,
    standard "char" not null,
    valid boolean not null,
    row_count bigint not null,
    primary key (space_id, domain, vocabulary, concept_class, standard, valid)
);
