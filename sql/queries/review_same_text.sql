-- Other terms of a project with the same text as one, the first of them; how many there are in all; and how many terms
-- have the same text, domain and context, with the term itself.
with term as (
    select text_key, group_key from omop_emb.review_term
    where project_id = %(project)s and position = %(position)s
),

like_it as (
    select other.position from omop_emb.review_term as other
    where
        other.project_id = %(project)s and other.position <> %(position)s
        and other.text_key = (select text_key from term)
)

select
    array(select position from like_it order by position limit %(limit)s),
    (select count(*) from like_it),
    (
        select count(*) from omop_emb.review_term as member
        where member.project_id = %(project)s and member.group_key = (select group_key from term)
    )
