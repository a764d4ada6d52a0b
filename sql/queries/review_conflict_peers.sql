-- Positions of the terms with which a decision on a term could conflict: of the same code or name, or mapped to one of
-- the targets. The last may have been mapped to it earlier.
(
    select other.position
    from omop_emb.review_term as term
    inner join omop_emb.review_term as other
        on other.project_id = term.project_id and other.source_code = term.source_code
    where
        term.project_id = %(project)s and term.position = %(position)s and term.source_code <> ''
        and other.source_code <> '' and other.position <> term.position
    limit %(limit)s
)
union
(
    select other.position
    from omop_emb.review_term as term
    inner join omop_emb.review_term as other
        on other.project_id = term.project_id and other.text_key = term.text_key
    where
        term.project_id = %(project)s and term.position = %(position)s
        and other.source_code = term.source_code and other.position <> term.position
    limit %(limit)s
)
union
(
    select distinct decision.position
    from omop_emb.review_decision as decision
    where
        decision.project_id = %(project)s and decision.targets && %(targets)s::integer[]
        and decision.position <> %(position)s
    limit %(limit)s
)
