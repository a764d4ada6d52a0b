-- What a reviewer's next undoing takes back: the latest decision that is no undoing or import, was not taken back, and
-- that no other decision has followed on its term; with it all others of its batch that were not taken back. A later
-- decision that was itself taken back does not count.
with effective as (
    select decision.*
    from omop_emb.review_decision as decision
    where
        decision.project_id = %(project)s and decision.action <> 'undo'
        and not exists (
            select from omop_emb.review_decision as undoing where undoing.undoes = decision.decision_id
        )
),

own as (
    select
        effective.*,
        exists (
            select from effective as later
            where later.position = effective.position and later.version > effective.version
        ) as is_superseded
    from effective
    where effective.reviewer = %(reviewer)s and effective.action <> 'import'
),

last as (
    select decision_id, batch_id from own
    where not is_superseded
    order by decision_id desc
    limit 1
)

select
    own.decision_id, own.batch_id, own.position, own.version, own.is_superseded,
    (
        select max(latest.version) from omop_emb.review_decision as latest
        where latest.project_id = own.project_id and latest.position = own.position
    ) as current_version
from own
inner join last on own.decision_id = last.decision_id or own.batch_id = last.batch_id
order by own.position
