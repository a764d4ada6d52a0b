-- A sample of the texts to embed: random, as ordered by hash, and the same each time.
select array_agg(input) as sample
from (
    select input from texts_to_embed group by input order by min(text_hash) limit {texts}
) as sampled
