select
    (select count(*) from pg_temp.wanted) - (select count(*) from pg_temp.pending),
    count(*),
    count(distinct input),
    coalesce((select sum(length(input)) from (select distinct input from pg_temp.to_embed) as different), 0)::bigint,
    (select count(distinct concept_id) from pg_temp.pending where not has_concept),
    (select count(distinct concept_id) from pg_temp.pending where has_concept),
    (select count(*) from pg_temp.reusable),
    (
        select count(*) from {texts} t join pg_temp.wanted w on w.concept_id = t.concept_id and w.text_kind = 'n'
        where (t.concept_name, t.domain_id, t.vocabulary_id, t.concept_class_id, t.standard_concept,
               t.concept_code, t.invalid_reason)
            is distinct from (w.concept_name, w.domain_id, w.vocabulary_id, w.concept_class_id,
                              w.standard_concept, w.concept_code, w.invalid_reason)
    ),
    (select count(distinct concept_id) from pg_temp.leaving where withdrawn),
    (select count(*) from pg_temp.leaving where withdrawn),
    (select count(*) from pg_temp.leaving where not withdrawn)
from pg_temp.to_embed
