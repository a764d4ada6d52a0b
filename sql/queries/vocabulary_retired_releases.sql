select release_id from omop_emb.vocabulary_release where state = 'retired' order by release_id
