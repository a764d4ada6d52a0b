-- Some of the texts to embed, by the order of their hashes and so a random sample that is the same each time.
select array_agg(input) as sample
from (
    select input from texts_to_embed group by input order by min(text_hash) limit {texts}
) as drawn
