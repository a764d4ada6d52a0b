-- Any fixed number will do, as long as every version of omop-emb takes the same one.
select pg_try_advisory_xact_lock(7306083102)
