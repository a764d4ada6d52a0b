select name, sha256 from omop_emb.migration order by name;
