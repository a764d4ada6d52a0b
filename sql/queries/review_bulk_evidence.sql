-- What else a bulk approval must know of terms: their latest version, what their suggestion was made with, and whether
-- anything speaks against its first candidate.
select
    suggestion.position, suggestion.revision, suggestion.concept_id,
    coalesce((
        select max(decision.version) from omop_emb.review_decision as decision
        where decision.project_id = suggestion.project_id and decision.position = suggestion.position
    ), 0) as version,
    mapped.json #>> '{candidates,0,concept_name}' as concept_name,
    (mapped.json ->> 'probability')::double precision as probability,
    mapped.json #>> '{provenance,ranker}' as ranker, mapped.json #>> '{provenance,fingerprint}' as fingerprint,
    (mapped.json #>> '{provenance,calibrated}')::boolean as is_calibrated,
    jsonb_array_length(mapped.json #> '{candidates,0,flags}') > 0 as has_flags,
    (mapped.json ->> 'disagrees')::boolean
    or mapped.json -> 'by_code' not in ('[]', jsonb_build_array(suggestion.concept_id)) as code_disagrees,
    mapped.json ->> 'outdated' <> '' or mapped.json -> 'previous' <> '[]' as was_approved_before,
    jsonb_array_length(mapped.json #> '{candidates,0,mapped_values}') > 0 as has_values,
    (
        select array_agg(retriever) from jsonb_object_keys(mapped.json #> '{candidates,0,retrievers}') as retriever
    ) = '{suggested}' as is_only_suggested,
    exists (
        select from jsonb_array_elements(mapped.json -> 'candidates') with ordinality as one (candidate, rank)
        where rank > 1 and (candidate ->> 'judged')::boolean
    ) as judge_disagrees,
    exists (
        select from omop_emb.review_term as term
        inner join omop_emb.review_current as twin
            on twin.project_id = term.project_id and twin.group_key = term.group_key
        where
            term.project_id = suggestion.project_id and term.position = suggestion.position
            and twin.state in ('approved', 'no match', 'flagged')
            and not (twin.state = 'approved' and twin.targets = array[suggestion.concept_id])
    ) as twin_disagrees
from omop_emb.review_suggestion as suggestion
cross join lateral (select suggestion.result::jsonb as json) as mapped
where suggestion.project_id = %(project)s and suggestion.position = any(%(positions)s)
