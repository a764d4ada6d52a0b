-- The rows that each table of a release had when it was loaded.
select 'omop_emb.' || f.table_name || '_' || f.release_id, f.row_count
from omop_emb.vocabulary_file f join omop_emb.vocabulary_release r using (release_id)
where r.state in ('active', 'previous')
