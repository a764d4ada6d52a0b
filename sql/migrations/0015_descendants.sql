-- The descendants of a concept by index, as loads make it from now on; the key of concept_ancestor serves ancestors.
do $$
declare
    release integer;
begin
    for release in
        select release_id from omop_emb.vocabulary_release where state in ('active', 'previous') order by release_id
    loop
        execute format(
            'create index on omop_emb.%I (ancestor_concept_id, min_levels_of_separation)', 'concept_ancestor_' || release
        );
    end loop;
end
$$;
