-- Every vocabulary that the table names; a CDM's table may lack the columns that are read through jsonb.
select
    v.vocabulary_id, to_jsonb(v) ->> 'vocabulary_name' as name,
    nullif(btrim(v.vocabulary_version), '') as version,
    (to_jsonb(v) ->> 'vocabulary_concept_id')::bigint as concept_id
from {vocabulary} v
order by v.vocabulary_id
