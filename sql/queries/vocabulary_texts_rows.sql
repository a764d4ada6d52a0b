select
    concept_id, concept_name, domain_id, vocabulary_id, concept_class_id, standard_concept, concept_code,
    invalid_reason, text_kind, text
from texts
order by concept_id, place, text collate "C"
