select
    (select count(*) from {wanted}) - (select count(*) from {pending}),
    count(*),
    count(distinct input),
    coalesce((select sum(length(input)) from (select distinct input from {to_embed}) as different), 0)::bigint,
    (select count(distinct concept_id) from {pending} where not has_concept),
    (select count(distinct concept_id) from {pending} where has_concept),
    (select count(*) from {reusable}),
    (
        select count(*) from {texts} t join {wanted} w on w.concept_id = t.concept_id and w.text_kind = 'n'
        where (t.concept_name, t.domain_id, t.vocabulary_id, t.concept_class_id, t.standard_concept,
               t.concept_code, t.invalid_reason)
            is distinct from (w.concept_name, w.domain_id, w.vocabulary_id, w.concept_class_id,
                              w.standard_concept, w.concept_code, w.invalid_reason)
    ),
    (select count(distinct concept_id) from {leaving} where withdrawn),
    (select count(*) from {leaving} where withdrawn),
    (select count(*) from {leaving} where not withdrawn),
    (
        select coalesce(jsonb_object_agg(domain_id, texts), '{{}}')
        from (
            select coalesce(domain_id, '') as domain_id, count(*) as texts
            from {wanted}
            group by coalesce(domain_id, '')
        ) as domains
    )
from {to_embed}
