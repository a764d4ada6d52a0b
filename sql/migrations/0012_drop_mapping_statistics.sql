-- Mapping reads the whole vocabulary, or its index in the cache folder; nothing reads these statistics.
drop table omop_emb.mapping_statistics;
