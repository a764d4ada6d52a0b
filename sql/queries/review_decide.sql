-- Stores a decision if its term's latest version is the one that it answers; nothing otherwise, nor for a request that
-- was stored before. Where another suggestion has come since the one that was shown, what was said then is not known.
insert into omop_emb.review_decision (
    project_id, position, version, request_id, reviewer, action, state, targets, mapping_types, equivalence, comment,
    revision, rank, probability, ranker, batch_id, undoes
)
select
    term.project_id, term.position, %(version)s + 1, %(request_id)s, %(reviewer)s, %(action)s, %(state)s, %(targets)s,
    %(mapping_types)s, %(equivalence)s, %(comment)s, %(revision)s, %(rank)s, suggestion.probability,
    suggestion.result::jsonb #>> '{provenance,ranker}', %(batch_id)s, %(undoes)s
from omop_emb.review_term as term
left join omop_emb.review_suggestion as suggestion
    on suggestion.project_id = term.project_id and suggestion.position = term.position
    and suggestion.revision = coalesce(%(revision)s, suggestion.revision)
where
    term.project_id = %(project)s and term.position = %(position)s
    and %(version)s = coalesce((
        select max(version) from omop_emb.review_decision as latest
        where latest.project_id = term.project_id and latest.position = term.position
    ), 0)
on conflict do nothing
returning decision_id
