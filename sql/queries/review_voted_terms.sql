-- Terms of samples with their latest second vote, the decision that was drawn and the decision now.
select
    term.sample_id, term.position, source.source_code, source.source_name, term.domain,
    first.reviewer as first_reviewer, first.state as first_state, first.targets as first_targets,
    first.mapping_types as first_mapping_types, first.equivalence as first_equivalence, first.comment as first_comment,
    vote.vote_id, vote.reviewer as second_reviewer, vote.voted_at, vote.state as second_state,
    vote.targets as second_targets, vote.mapping_types as second_mapping_types,
    vote.equivalence as second_equivalence, vote.comment as second_comment,
    latest.version, latest.reviewer as decided_by, latest.action, latest.decided_at,
    latest.version > term.version as is_redecided, latest.state as current_state, latest.targets as current_targets,
    latest.mapping_types as current_mapping_types, latest.equivalence as current_equivalence,
    latest.comment as current_comment
from omop_emb.review_sample_term as term
inner join omop_emb.review_term as source
    on source.project_id = term.project_id and source.position = term.position
inner join omop_emb.review_decision as first
    on first.project_id = term.project_id and first.position = term.position and first.version = term.version
inner join lateral (
    select * from omop_emb.review_vote as given
    where given.sample_id = term.sample_id and given.position = term.position
    order by given.vote_id desc limit 1
) as vote on true
inner join lateral (
    select * from omop_emb.review_decision as decision
    where decision.project_id = term.project_id and decision.position = term.position
    order by decision.version desc limit 1
) as latest on true
where
    term.project_id = %(project)s and (%(sample)s::integer is null or term.sample_id = %(sample)s)
    and (%(positions)s::integer[] is null or term.position = any(%(positions)s))
order by term.position, term.sample_id
