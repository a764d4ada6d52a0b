delete from omop_emb.query_vector
where key in (
    select key from omop_emb.query_vector
    where key in (
        select key from omop_emb.query_vector order by used_at desc, key offset %(most)s
    )
    for update skip locked
)
