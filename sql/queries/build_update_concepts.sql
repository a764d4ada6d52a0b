-- Name, domain, class, code, flag or validity of a concept changed: its rows follow, their vectors stay.
with changed as (
    update {texts} t
    set (concept_name, domain_id, vocabulary_id, concept_class_id, standard_concept, concept_code, invalid_reason)
        = (w.concept_name, w.domain_id, w.vocabulary_id, w.concept_class_id, w.standard_concept, w.concept_code,
           w.invalid_reason)
    from pg_temp.desired_texts w
    where w.concept_id = t.concept_id and w.text_kind = 'n'
        and (t.concept_name, t.domain_id, t.vocabulary_id, t.concept_class_id, t.standard_concept,
             t.concept_code, t.invalid_reason)
            is distinct from (w.concept_name, w.domain_id, w.vocabulary_id, w.concept_class_id,
                              w.standard_concept, w.concept_code, w.invalid_reason)
    returning t.concept_id, t.text_kind, t.text_hash, t.domain_id, t.vocabulary_id, t.concept_class_id,
        t.standard_concept, t.invalid_reason
)
update {rows} r
set domain = coalesce(d.code, 0), vocabulary = coalesce(v.code, 0), concept_class = coalesce(c.code, 0),
    standard = coalesce(left(changed.standard_concept, 1), ' ')::"char", valid = changed.invalid_reason is null
from changed
left join omop_emb.label d on d.kind = 'domain' and d.label = changed.domain_id
left join omop_emb.label v on v.kind = 'vocabulary' and v.label = changed.vocabulary_id
left join omop_emb.label c on c.kind = 'concept class' and c.label = changed.concept_class_id
where (r.concept_id, r.text_kind, r.text_hash) = (changed.concept_id, changed.text_kind, changed.text_hash)
    and (r.domain, r.vocabulary, r.concept_class, r.standard, r.valid) is distinct from
        (coalesce(d.code, 0), coalesce(v.code, 0), coalesce(c.code, 0),
         coalesce(left(changed.standard_concept, 1), ' ')::"char", changed.invalid_reason is null)
