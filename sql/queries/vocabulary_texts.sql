-- A row per text of a concept: its name, each further synonym once, its code.
-- A concept without a name is left out, whatever its other texts: nobody could recognise it.
with chosen as not materialized (
    select
        concept_id, concept_name, domain_id, vocabulary_id, concept_class_id,
        nullif(standard_concept, '') as standard_concept, concept_code,
        nullif(invalid_reason, '') as invalid_reason
    from {concept}
    where btrim(concept_name, E' \t\r\n') <> '' and {condition}
), synonyms as (
    select distinct concept_id, concept_synonym_name
    from {concept_synonym}
    where btrim(concept_synonym_name, E' \t\r\n') <> ''
        and (
            cast(%(languages)s as bigint[]) is null
            or language_concept_id = any(cast(%(languages)s as bigint[]))
        )
), texts as (
    select chosen.*, 1 as place, 'n' as text_kind, concept_name as text
    from chosen
    where 'n' = any(cast(%(kinds)s as text[]))
    union all
    select chosen.*, 2, 's', synonyms.concept_synonym_name
    from chosen join synonyms using (concept_id)
    where 's' = any(cast(%(kinds)s as text[])) and concept_synonym_name <> concept_name
    union all
    select chosen.*, 3, 'c', concept_code
    from chosen
    where 'c' = any(cast(%(kinds)s as text[])) and btrim(concept_code, E' \t\r\n') <> ''
)
