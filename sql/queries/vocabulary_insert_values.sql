insert into omop_emb.vocabulary_value (release_id, kind, value, concept_count)
select %(release_id)s, kind, value, sum(concepts)
from (
    select 'domain' as kind, domain_id as value, count(*) as concepts from {concept} group by domain_id
    union all select 'vocabulary', vocabulary_id, count(*) from {concept} group by vocabulary_id
    union all select 'concept class', concept_class_id, count(*) from {concept} group by concept_class_id
    union all select 'domain', domain_id, 0 from {domain}
    union all select 'vocabulary', vocabulary_id, 0 from {vocabulary}
    union all select 'concept class', concept_class_id, 0 from {concept_class}
) as counts
where value is not null
group by kind, value
