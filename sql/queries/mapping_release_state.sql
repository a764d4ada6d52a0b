-- Which files a release was loaded from, of those tables that mapping reads: their hashes are its contents'.
select table_name, sha256, row_count
from omop_emb.vocabulary_file
where release_id = %(release_id)s
    and table_name in ('concept', 'concept_synonym', 'concept_relationship')
order by table_name
