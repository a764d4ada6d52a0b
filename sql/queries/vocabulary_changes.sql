-- What changed from one release to the next, a row for each change of a concept. Of a concept that is not standard,
-- replacements are what Maps to leads to, and where it leads nowhere, what replaced the concept.
with links as (
    select concept_id_1 as concept_id, relationship_id, concept_id_2 as target_id, true as is_new
    from {new_relationship}
    where relationship_id in ('Maps to', 'Concept replaced by') and coalesce(invalid_reason, '') = ''
        and concept_id_1 <> concept_id_2
    union all
    select concept_id_1, relationship_id, concept_id_2, false
    from {old_relationship}
    where relationship_id = 'Maps to' and coalesce(invalid_reason, '') = '' and concept_id_1 <> concept_id_2
), targets as (
    select l.concept_id,
        string_agg(target_id::text, '; ' order by target_id) filter (where not is_new) as old_maps_to,
        string_agg(target_id::text, '; ' order by target_id) filter (where is_new and relationship_id = 'Maps to')
            as new_maps_to,
        string_agg(t.concept_name, '; ' order by target_id) filter (where is_new and relationship_id = 'Maps to')
            as new_maps_to_names,
        string_agg(target_id::text, '; ' order by target_id)
            filter (where is_new and relationship_id <> 'Maps to') as replaced_by,
        string_agg(t.concept_name, '; ' order by target_id)
            filter (where is_new and relationship_id <> 'Maps to') as replaced_by_names
    from links l left join {new_concept} t on t.concept_id = l.target_id
    group by l.concept_id
), concepts as (
    select coalesce(o.concept_id, n.concept_id) as concept_id,
        coalesce(n.vocabulary_id, o.vocabulary_id) as vocabulary_id,
        coalesce(n.concept_code, o.concept_code) as concept_code,
        o.concept_name as old_name, n.concept_name as new_name,
        o.domain_id as old_domain_id, n.domain_id as new_domain_id,
        o.concept_id is not null as in_old, n.concept_id is not null as in_new,
        o.concept_id is not null and coalesce(o.invalid_reason, '') = '' as old_valid,
        n.concept_id is not null and coalesce(n.invalid_reason, '') = '' as new_valid,
        coalesce(o.standard_concept, '') = 'S' as old_standard,
        coalesce(n.standard_concept, '') = 'S' as new_standard
    from {old_concept} o full join {new_concept} n on n.concept_id = o.concept_id
)
select c.concept_id, change.name as change, c.vocabulary_id, c.concept_code, c.old_name, c.new_name, c.old_domain_id,
    c.new_domain_id, t.old_maps_to as old_replacement_ids,
    coalesce(t.new_maps_to, t.replaced_by) as replacement_ids,
    case when t.new_maps_to is null then t.replaced_by_names else t.new_maps_to_names end as replacement_names
from concepts c
left join targets t on t.concept_id = c.concept_id
cross join lateral (
    values
        (1, 'new', not in_old),
        (2, 'withdrawn', old_valid and not new_valid),
        (3, 'valid again', in_old and not old_valid and new_valid),
        (4, 'no longer standard', old_valid and new_valid and old_standard and not new_standard),
        (5, 'became standard', in_old and new_valid and new_standard and not old_standard),
        (6, 'renamed', in_old and in_new and coalesce(old_name, '') <> coalesce(new_name, '')),
        (7, 'domain changed', in_old and in_new and old_domain_id is distinct from new_domain_id),
        (
            8, 'remapped',
            in_old and in_new and not old_standard and not new_standard and not (old_valid and not new_valid)
            and old_maps_to is distinct from new_maps_to
        )
) as change (number, name, applies)
where change.applies
order by c.concept_id, change.number
