-- The release before the active one is kept, so that readers can go back to it.
alter table omop_emb.vocabulary_release
    drop constraint vocabulary_release_state_check,
    add constraint vocabulary_release_state_check
        check (state in ('loading', 'active', 'previous', 'retired', 'dropped'));
create unique index vocabulary_one_previous on omop_emb.vocabulary_release (state) where state = 'previous';

-- Release that a space was last built from; null for the vocabulary of a CDM, an import, or an earlier version's build.
alter table omop_emb.space add column release_id integer;
