-- Which vector indexes a space should have, and what each was measured to find.
alter table omop_emb.space
    drop column partial_domains,                              -- which there are says the catalogue itself
    add column partial text not null default 'auto',          -- 'auto', 'none', or domains, comma-separated
    add column partial_recall jsonb not null default '{}',    -- of each domain's index: {code: [[k, ef_search, recall], …]}
    add column recall_sample bigint[] not null default '{}';  -- some rows' hashes when that was measured
