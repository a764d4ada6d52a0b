-- Why a person may not vote on a term of a sample, '' if nothing forbids it; no row if the sample has no such term. The
-- row is locked, so that of two people who vote at once one is first.
select
    case
        when sample.reviewer not in ('', %(reviewer)s) then 'asked'
        when exists (
            select from omop_emb.review_decision as own
            where
                own.project_id = term.project_id and own.position = term.position and own.reviewer = %(reviewer)s
                and own.version <= term.version
        ) then 'own'
        when exists (
            select from omop_emb.review_vote as vote
            where
                vote.sample_id = term.sample_id and vote.position = term.position and vote.reviewer <> %(reviewer)s
        ) then 'voted'
        when exists (
            select from omop_emb.review_decision as later
            where
                later.project_id = term.project_id and later.position = term.position and later.version > term.version
                and (later.action = 'adjudicate' or later.reviewer = %(reviewer)s)
        ) then 'settled'
        else ''
    end as refusal
from omop_emb.review_sample_term as term
inner join omop_emb.review_sample as sample on sample.sample_id = term.sample_id
where term.sample_id = %(sample)s and term.position = %(position)s
for update of term
