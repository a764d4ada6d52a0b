select count(*), count(*) filter (where coalesce(btrim(concept_name, E' \t\r\n'), '') = '')
from {concept}
