select
    (select count(*) from {desired_texts}) - (select count(*) from {missing_texts}),
    count(*),
    count(distinct input),
    coalesce((select sum(length(input)) from (select distinct input from {texts_to_embed}) as distinct_texts), 0)::bigint,
    (select count(distinct concept_id) from {missing_texts} where not has_concept),
    (select count(distinct concept_id) from {missing_texts} where has_concept),
    (select count(*) from {reusable_vectors}),
    (
        select count(*) from {texts} t join {desired_texts} w on w.concept_id = t.concept_id and w.text_kind = 'n'
        where (t.concept_name, t.domain_id, t.vocabulary_id, t.concept_class_id, t.standard_concept,
               t.concept_code, t.invalid_reason)
            is distinct from (w.concept_name, w.domain_id, w.vocabulary_id, w.concept_class_id,
                              w.standard_concept, w.concept_code, w.invalid_reason)
    ),
    (select count(distinct concept_id) from {surplus_texts} where withdrawn),
    (select count(*) from {surplus_texts} where withdrawn),
    (select count(*) from {surplus_texts} where not withdrawn),
    (
        select coalesce(jsonb_object_agg(domain_id, texts), '{{}}')
        from (
            select coalesce(domain_id, '') as domain_id, count(*) as texts
            from {desired_texts}
            group by coalesce(domain_id, '')
        ) as domains
    )
from {texts_to_embed}
