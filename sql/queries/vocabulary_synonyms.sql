-- English is 4180186.
select s.text, s.language_concept_id, case
    when s.language_concept_id <> 4180186
        then coalesce(nullif(l.concept_name, ''), 'language ' || s.language_concept_id)
end as language
from (
    select distinct concept_synonym_name as text, nullif(language_concept_id, 0) as language_concept_id
    from {concept_synonym}
    where concept_id = %(concept_id)s and btrim(concept_synonym_name, E' \t\r\n') <> ''
) s
left join {concept} l on l.concept_id = s.language_concept_id
order by language nulls first, s.text
