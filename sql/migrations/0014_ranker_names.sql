-- A ranker has a name of its own, and knows which approvals it learned from and how many of these were
-- withdrawn since.
alter table omop_emb.mapping_ranker
    add column name text,
    add column learned_terms bytea not null default '',    -- 8 bytes of the SHA-256 of each code and name
    add column withdrawn_terms integer not null default 0; -- how many of them were withdrawn since
update omop_emb.mapping_ranker
set name = case when site like 'shipped%' then 'site-' else '' end || site || '-' || ranker_id;
alter table omop_emb.mapping_ranker
    alter column name set not null,
    add constraint mapping_ranker_name unique (name);
