-- Distinct texts partitioned into chunks by length, longest first: a model then pads little, and the remaining time
-- is rather over- than underestimated. Equal texts are in one chunk, so that one vector serves them all. Chunk -1 holds
-- what is deleted at the end; each chunk below -1 holds the texts of a batch job.
create table {work} as
with at_work as (
    select text_key, min(job_id) as job_id
    from omop_emb.batch_text join omop_emb.batch_job using (job_id)
    where space_id = {space}
    group by text_key
)
select coalesce(-1 - j.job_id, (
           dense_rank() over (partition by j.job_id is null order by length(e.input) desc, e.input collate "C") - 1
       ) / {chunk_texts}) as chunk,
       e.text_hash, e.concept_id, coalesce(d.code, 0::smallint) as domain, coalesce(v.code, 0::smallint) as vocabulary,
       coalesce(c.code, 0::smallint) as concept_class, e.text_kind,
       coalesce(left(e.standard_concept, 1), ' ')::"char" as standard, e.invalid_reason is null as valid,
       e.input, e.text, e.concept_name, e.domain_id, e.vocabulary_id, e.concept_class_id, e.standard_concept,
       e.concept_code, e.invalid_reason
from pg_temp.texts_to_embed e
left join at_work j on j.text_key = {key}
left join omop_emb.label d on d.kind = 'domain' and d.label = e.domain_id
left join omop_emb.label v on v.kind = 'vocabulary' and v.label = e.vocabulary_id
left join omop_emb.label c on c.kind = 'concept class' and c.label = e.concept_class_id
union all
select -1, text_hash, concept_id, 0, 0, 0, text_kind, ' ', true, null, null, null, null, null, null, null, null, null
from pg_temp.surplus_texts where not withdrawn
