-- A CDM's table may lack these columns, which would be an error if they were named.
select
    concept_id,
    cast(cast(to_jsonb(c) ->> 'valid_start_date' as timestamp) as date),
    cast(cast(to_jsonb(c) ->> 'valid_end_date' as timestamp) as date)
from {concept} c
where concept_id = any(cast(%(concept_ids)s as bigint[]))
