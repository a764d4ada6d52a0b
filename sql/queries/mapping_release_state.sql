-- The files of a release that mapping reads; their hashes stand for their contents.
select table_name, sha256, row_count
from omop_emb.vocabulary_file
where release_id = %(release_id)s
    and table_name in ('concept', 'concept_synonym', 'concept_relationship')
order by table_name
