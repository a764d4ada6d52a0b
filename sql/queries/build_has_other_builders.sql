-- Whether another builder works on a build: its lease is renewed, and another connection holds the builders' lock.
select exists (
    select from omop_emb.build where space_id = %(space)s and lease_until > clock_timestamp()
) and exists (
    select from pg_locks
    where locktype = 'advisory' and classid = hashtext('omop_emb.builders')::oid and objid = %(space)s::integer::oid
        and objsubid = 2 and mode = 'ShareLock' and pid <> %(pid)s
        and database = (select oid from pg_database where datname = current_database())
)
