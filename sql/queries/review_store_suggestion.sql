-- Stores a result; whether another candidate is the first now. Nothing is returned where the result is the same.
insert into omop_emb.review_suggestion as suggestion (
    project_id, position, result, concept_id, concept_name, concept_domain, flags, probability, priority
)
values (
    %(project)s, %(position)s, %(result)s, %(concept)s, %(name)s, %(domain)s, %(flags)s, %(probability)s, %(priority)s
)
on conflict (project_id, position) do update
set
    revision = suggestion.revision + 1, result = excluded.result, concept_id = excluded.concept_id,
    concept_name = excluded.concept_name, concept_domain = excluded.concept_domain, flags = excluded.flags,
    probability = excluded.probability, priority = excluded.priority,
    changed_at = case
        when suggestion.concept_id = excluded.concept_id then suggestion.changed_at
        else clock_timestamp()
    end
where suggestion.result is distinct from excluded.result
returning revision > 1 and changed_at is not null and changed_at >= now()
