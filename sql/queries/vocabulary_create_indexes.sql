-- Primary keys are added separately, table by table, so that a duplicate is reported with its file and lines.
-- Codes come first: they are more selective than vocabularies, and a vocabulary may be given in any case.
create index on {concept} (concept_code, vocabulary_id);
create index on {concept} (lower(concept_name));
create index on {concept_synonym} (concept_id);
-- Descendants; the key serves ancestors.
create index on {concept_ancestor} (ancestor_concept_id, min_levels_of_separation);
analyze {concept}, {concept_synonym}, {concept_relationship}, {concept_ancestor};
analyze {vocabulary}, {domain}, {concept_class}, {relationship};
