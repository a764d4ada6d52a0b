-- Terms of a project for which another candidate has become the first since a time, in the order in which it did.
select position, revision, changed_at
from omop_emb.review_suggestion
where project_id = %(project)s and changed_at >= %(since)s
order by changed_at, position
limit %(limit)s
