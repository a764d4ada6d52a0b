insert into omop_emb.build_chunk (space_id, chunk, job_id, texts, characters)
select {space}, chunk, case when chunk < -1 then -1 - chunk end, count(*), sum(length(input))
from (select distinct chunk, input from {work} where chunk <> -1) as distinct_texts
group by chunk
