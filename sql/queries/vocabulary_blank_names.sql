select coalesce(vocabulary_id, ''), count(*)
from {concept}
where coalesce(btrim(concept_name, E' \t\r\n'), '') = ''
group by vocabulary_id
order by vocabulary_id
