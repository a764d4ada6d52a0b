-- Terms of a sample on which nobody has voted and that a person has not decided, in the order of the file.
select term.position
from omop_emb.review_sample_term as term
where
    term.sample_id = %(sample)s
    and not exists (
        select from omop_emb.review_vote as vote
        where vote.sample_id = term.sample_id and vote.position = term.position
    )
    and not exists (
        select from omop_emb.review_decision as own
        where own.project_id = term.project_id and own.position = term.position and own.reviewer = %(reviewer)s
    )
    and not exists (
        select from omop_emb.review_decision as later
        where
            later.project_id = term.project_id and later.position = term.position and later.version > term.version
            and later.action = 'adjudicate'
    )
order by term.position
