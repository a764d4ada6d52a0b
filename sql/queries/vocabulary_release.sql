select source, loaded_at, blank_names from omop_emb.vocabulary_release where release_id = %s
