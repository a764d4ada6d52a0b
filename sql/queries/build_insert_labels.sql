-- Codes for new domains, vocabularies and classes. Only missing ones are inserted, as each attempt uses up a number.
insert into omop_emb.label (kind, label)
select kind, label
from (
    select 'domain' as kind, domain_id as label from pg_temp.desired_texts
    union select 'vocabulary', vocabulary_id from pg_temp.desired_texts
    union select 'concept class', concept_class_id from pg_temp.desired_texts
) as labels
where label is not null and not exists (
    select from omop_emb.label coded where (coded.kind, coded.label) = (labels.kind, labels.label)
)
order by kind, label
on conflict do nothing
