-- The keys are made apart, table by table: a duplicate is reported with its file and lines.
-- Codes lead, for they tell more apart than vocabularies do, and a vocabulary may be asked for in any case.
create index on {concept} (concept_code, vocabulary_id);
create index on {concept} (lower(concept_name));
create index on {concept_synonym} (concept_id);
analyze {concept}, {concept_synonym}, {concept_relationship}, {concept_ancestor};
analyze {vocabulary}, {domain}, {concept_class}, {relationship};
