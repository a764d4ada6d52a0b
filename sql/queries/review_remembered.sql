-- Names that a site approved for concepts, the latest first.
select concept_id, array_agg(source_name order by place)
from (
    select
        concept_id, source_name,
        row_number() over (partition by concept_id order by approved_at desc, source_name) as place
    from (
        select concept_id, source_name, max(approved_at) as approved_at
        from omop_emb.mapping_memory
        where site = %(site)s and withdrawn_at is null and concept_id = any(%(concepts)s)
        group by concept_id, source_name
    ) as named
) as ranked
where place <= %(limit)s
group by concept_id
