select language_concept_id, count(*)
from {concept_synonym}
where language_concept_id is not null and concept_synonym_name ~ '\S'
group by language_concept_id
order by count(*) desc, language_concept_id
