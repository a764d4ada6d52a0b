-- Some synonyms of concepts, English ones (4180186) first.
select concept_id, array_agg(name order by place)
from (
    select
        concept_id, concept_synonym_name as name,
        row_number() over (
            partition by concept_id order by language_concept_id <> 4180186, length(concept_synonym_name), concept_synonym_name
        ) as place
    from {concept_synonym}
    where concept_id = any(%(concepts)s) and btrim(concept_synonym_name, E' \t\r\n') <> ''
) as ranked
where place <= %(limit)s
group by concept_id
