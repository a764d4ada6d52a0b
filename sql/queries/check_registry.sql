-- Tables of spaces and releases: those that the registry lists and the database lacks, and the other way round.
with listed as (
    select 'omop_emb.space' as registry, 'space_' || space_id || suffix as name
    from omop_emb.space cross join (values (''), ('_text')) as t (suffix)
    union all
    select 'omop_emb.vocabulary_release', f.table_name || '_' || f.release_id
    from omop_emb.vocabulary_file f join omop_emb.vocabulary_release r using (release_id)
    where r.state in ('active', 'previous')
), existing as (
    select relname::text as name from pg_class where relnamespace = 'omop_emb'::regnamespace and relkind = 'r'
), known as (
    select name from listed
    union all select t.name || '_' || r.release_id from unnest(%(tables)s::text[]) t (name) cross join omop_emb.vocabulary_release r
)
select 'omop_emb.' || name, 'it does not exist' from listed where name not in (select name from existing)
union all
select case when name ~ '^space_\d+(_text)?$' then 'omop_emb.space' else 'omop_emb.vocabulary_release' end,
    'it has no row for the table omop_emb.' || name
from existing
where name ~ ('^(space_\d+(_text)?|(' || array_to_string(%(tables)s::text[], '|') || ')_\d+)$') and name not in (select name from known)
