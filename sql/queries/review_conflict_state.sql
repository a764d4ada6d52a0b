-- What a review's conflicts depend on, besides the vocabulary. Rows are only ever added: their number and the latest id
-- tell, also where one was taken back with its transaction.
select
    project.created_at, project.ready_at, terms.number as terms, decisions.number as decisions,
    decisions.latest as latest_decision, votes.number as votes, votes.latest as latest_vote
from omop_emb.review_project as project
cross join lateral (
    select count(*) as number from omop_emb.review_term as term where term.project_id = project.project_id
) as terms
cross join lateral (
    select count(*) as number, max(decision.decision_id) as latest
    from omop_emb.review_decision as decision
    where decision.project_id = project.project_id
) as decisions
cross join lateral (
    select count(*) as number, max(vote.vote_id) as latest
    from omop_emb.review_vote as vote
    inner join omop_emb.review_sample as sample on sample.sample_id = vote.sample_id
    where sample.project_id = project.project_id
) as votes
where project.project_id = %(project)s
