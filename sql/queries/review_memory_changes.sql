-- What the memory of a review's site lacks, and what it has too much, of the names whose terms were decided after a
-- decision. A name with its code is wanted if any review of the site has it approved; what came with a file stays.
with touched as (
    select distinct term.source_code, term.source_name, term.text_key
    from omop_emb.review_decision as decision
    inner join omop_emb.review_term as term
        on term.project_id = decision.project_id and term.position = decision.position
    where
        decision.project_id = %(project)s and decision.decision_id > %(after)s
        and btrim(term.source_name) <> ''
),

wanted as (
    select
        touched.source_code, touched.source_name, target.concept_id,
        coalesce(min(term.term ->> 'source_vocabulary'), '') as source_vocabulary,
        'review ' || min(project.name) as approved_from
    from touched
    inner join omop_emb.review_project as project on project.site = %(site)s
    inner join omop_emb.review_term as term
        on
            term.project_id = project.project_id and term.text_key = touched.text_key
            and term.source_code = touched.source_code and term.source_name = touched.source_name
    inner join lateral (
        select decision.state, decision.targets, decision.mapping_types
        from omop_emb.review_decision as decision
        where decision.project_id = term.project_id and decision.position = term.position
        order by decision.version desc
        limit 1
    ) as latest on latest.state = 'approved'
    inner join lateral unnest(latest.targets, latest.mapping_types) as target (concept_id, mapping_type)
        on target.mapping_type = 'MAPS_TO'
    group by touched.source_code, touched.source_name, target.concept_id
),

remembered as (
    select memory.source_code, memory.source_name, memory.concept_id, memory.source_vocabulary, memory.approved_from
    from touched
    inner join omop_emb.mapping_memory as memory
        on
            memory.site = %(site)s and memory.source_code = touched.source_code
            and memory.source_name = touched.source_name and memory.withdrawn_at is null
)

select wanted.*, true as is_wanted
from wanted
where not exists (
    select from remembered
    where
        remembered.source_code = wanted.source_code and remembered.source_name = wanted.source_name
        and remembered.concept_id = wanted.concept_id
)
union all
select remembered.source_code, remembered.source_name, remembered.concept_id, remembered.source_vocabulary,
       remembered.approved_from, false
from remembered
where
    exists (
        select from omop_emb.review_project as project
        where project.site = %(site)s and remembered.approved_from = 'review ' || project.name
    )
    and not exists (
        select from wanted
        where
            remembered.source_code = wanted.source_code and remembered.source_name = wanted.source_name
            and remembered.concept_id = wanted.concept_id
    )
order by source_name, source_code, concept_id
