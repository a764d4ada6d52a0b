-- The numbers of texts, texts without a vector, and vectors without a text.
select
    (select count(*) from {texts}),
    (
        select count(*) from {texts} t where not exists (
            select from {rows} r
            where (r.concept_id, r.text_kind, r.text_hash) = (t.concept_id, t.text_kind, t.text_hash)
        )
    ),
    (
        select count(*) from {rows} r where not exists (
            select from {texts} t
            where (t.concept_id, t.text_kind, t.text_hash) = (r.concept_id, r.text_kind, r.text_hash)
        )
    )
