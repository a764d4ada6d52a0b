-- Samples of a project with their progress, the latest first.
select
    sample.sample_id, sample.project_id, sample.kind, sample.reviewer, sample.population, sample.seed, sample.created_by,
    sample.created_at,
    (
        select count(*) from omop_emb.review_sample_term as term where term.sample_id = sample.sample_id
    ) as terms,
    (
        select count(distinct vote.position) from omop_emb.review_vote as vote where vote.sample_id = sample.sample_id
    ) as voted
from omop_emb.review_sample as sample
where sample.project_id = %(project)s and (%(sample)s::integer is null or sample.sample_id = %(sample)s)
order by sample.sample_id desc
