-- Recall is measured with the filters that are used, too. What was measured before came from queries nearer to the
-- rows than those of people, and counted texts, not concepts: it is measured again by the next build.
alter table omop_emb.space
    add column standard_recall jsonb not null default '{}'; -- of standard and valid concepts alone: {code, "" for all: …}
update omop_emb.space
set
    recall = '[]',
    recall_sample = '{}',
    partial_recall = (
        select coalesce(jsonb_object_agg(code, '[]'::jsonb), '{}') from jsonb_object_keys(partial_recall) code
    );
