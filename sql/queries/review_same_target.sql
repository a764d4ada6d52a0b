-- Other terms of a project whose latest decision approves one of some concepts, the latest first.
select decision.position
from omop_emb.review_decision as decision
where
    decision.project_id = %(project)s and decision.position <> %(position)s
    and decision.targets && %(concepts)s::integer[] and decision.state = 'approved'
    and not exists (
        select from omop_emb.review_decision as later
        where
            later.project_id = decision.project_id and later.position = decision.position
            and later.version > decision.version
    )
order by decision.decision_id desc
limit %(limit)s
