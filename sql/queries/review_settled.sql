-- The newest decision of a project, and the time, before which no transaction adds anything any more: before the oldest
-- one began that is writing. Read what has happened after this query, in a statement of its own, to see what ends now.
with settled as (
    select least(
        statement_timestamp(),
        (
            -- One whose begin this role may not see may be of any age.
            select min(coalesce(activity.xact_start, 'epoch'))
            from pg_catalog.pg_locks as held
            left join pg_catalog.pg_stat_activity as activity on activity.pid = held.pid
            where
                held.relation in ('omop_emb.review_decision'::regclass, 'omop_emb.review_suggestion'::regclass)
                and held.database = (select oid from pg_catalog.pg_database where datname = current_database())
                and held.mode = 'RowExclusiveLock' and held.pid is distinct from pg_backend_pid()
        )
    ) as until
)

select
    (
        select decision_id from omop_emb.review_decision
        where project_id = %(project)s and decision_id > %(after)s and decided_at < settled.until
        order by decision_id desc
        limit 1
    ),
    settled.until
from settled
