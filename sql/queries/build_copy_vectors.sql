with reused as (
    insert into {rows} (text_hash, concept_id, domain, vocabulary, concept_class, text_kind, standard, valid, embedding)
    select p.text_hash, p.concept_id, coalesce(d.code, 0), coalesce(v.code, 0), coalesce(c.code, 0), p.text_kind,
           coalesce(left(p.standard_concept, 1), ' ')::"char", p.invalid_reason is null,
           source.embedding
    from pg_temp.reusable_vectors u
    join pg_temp.missing_texts p using (concept_id, text_kind, text_hash)
    join {source} source on (source.concept_id, source.text_kind, source.text_hash)
        = (u.from_concept_id, u.from_kind, u.text_hash)
    left join omop_emb.label d on d.kind = 'domain' and d.label = p.domain_id
    left join omop_emb.label v on v.kind = 'vocabulary' and v.label = p.vocabulary_id
    left join omop_emb.label c on c.kind = 'concept class' and c.label = p.concept_class_id
    where u.source = {number}
    returning concept_id, text_kind, text_hash
)
insert into {texts} (concept_id, text_kind, text_hash, text, concept_name, domain_id, vocabulary_id,
    concept_class_id, standard_concept, concept_code, invalid_reason)
select p.concept_id, p.text_kind, p.text_hash, p.text, p.concept_name, p.domain_id, p.vocabulary_id,
    p.concept_class_id, p.standard_concept, p.concept_code, p.invalid_reason
from pg_temp.missing_texts p join reused using (concept_id, text_kind, text_hash)
