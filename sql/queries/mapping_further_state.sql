-- The same as mapping_state for each space that is searched besides the active one: those of the given names, and
-- those that the site's rankers in use were trained with.
select
    space.space_id, space.name, space.fingerprint, space.texts, space.vocabulary_release, space.release_id,
    space.selection is not null or not exists (
        select from omop_emb.build where build.space_id = space.space_id
    ),
    (
        select md5(string_agg(write_id::text, ' ' order by write_id))
        from omop_emb.space_write where space_write.space_id = space.space_id
    )
from omop_emb.space
where not space.is_active and (
    space.name = any(cast(%(names)s as text[]))
    or space.fingerprint in (
        select trained ->> 'fingerprint'
        from omop_emb.mapping_ranker, jsonb_array_elements(trained_on -> 'further_spaces') trained
        where site = %(site)s and is_active
    )
)
order by space.space_id
