insert into omop_emb.build_chunk (space_id, chunk, texts, characters)
select {space}, chunk, count(*), sum(length(input))
from (select distinct chunk, input from {work} where chunk >= 0) as different
group by chunk
