-- The standard concepts whose names are most like a text, by trigrams.
select concept_id
from {concept}
where standard_concept = 'S' and invalid_reason is null
    and lower(concept_name) operator({schema}.%%) lower(%(text)s)
order by {schema}.similarity(lower(concept_name), lower(%(text)s)) desc, concept_id
limit %(k)s
