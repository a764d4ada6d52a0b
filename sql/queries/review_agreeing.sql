-- Who else decided or voted as the latest decision of some terms says: the same state and the same targets.
select position, array_agg(distinct reviewer order by reviewer) as reviewers
from (
    select current.position, decision.reviewer
    from omop_emb.review_current as current
    inner join omop_emb.review_decision as decision
        on decision.project_id = current.project_id and decision.position = current.position
    where
        current.project_id = %(project)s and current.position = any(%(positions)s)
        and decision.reviewer <> current.reviewer and decision.state = current.state and decision.action <> 'undo'
        and decision.targets @> current.targets and decision.targets <@ current.targets
        and not exists (
            select from omop_emb.review_decision as undoing where undoing.undoes = decision.decision_id
        )
    union
    select current.position, vote.reviewer
    from omop_emb.review_current as current
    inner join omop_emb.review_sample as sample on sample.project_id = current.project_id
    inner join lateral (
        select distinct on (given.reviewer) given.*
        from omop_emb.review_vote as given
        where given.sample_id = sample.sample_id and given.position = current.position
        order by given.reviewer, given.vote_id desc
    ) as vote on true
    where
        current.project_id = %(project)s and current.position = any(%(positions)s)
        and vote.reviewer <> current.reviewer and vote.state = current.state
        and vote.targets @> current.targets and vote.targets <@ current.targets
) as agreeing
group by position
