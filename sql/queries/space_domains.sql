-- As last counted: a space's domains, largest first, with their rows, share of all rows, and name.
select
    domain,
    sum(row_count)::bigint,
    (sum(row_count) / sum(sum(row_count)) over ())::float8,
    (select label from omop_emb.label where code = domain and kind = 'domain')
from omop_emb.space_count
where space_id = %(space)s
group by domain
order by sum(row_count) desc, domain
