-- What a release has, beside what the one after it has: rows of a table, concepts of a vocabulary or domain.
with counts as (
    select release_id, 'table' as kind, table_name as name, row_count as rows from omop_emb.vocabulary_file
    union all
    select release_id, kind, value, concept_count from omop_emb.vocabulary_value where kind <> 'concept class'
)
select before.kind, before.name, before.rows, coalesce(after.rows, 0)
from (select * from counts where release_id = %(before)s) before
left join (select * from counts where release_id = %(after)s) after using (kind, name)
order by before.name <> 'concept' or before.kind <> 'table', before.kind = 'domain', before.kind = 'vocabulary', before.rows desc, before.name
