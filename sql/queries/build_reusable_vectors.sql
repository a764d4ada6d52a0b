-- Missing texts whose vector is in this database: under the same key in a space of the same model (source 0), or under
-- another concept with the same text (source 1). A hash covers the filled-in template, so equal ones have one vector.
select distinct on (concept_id, text_kind, text_hash) *
from (
    select p.concept_id, p.text_kind, p.text_hash, 0 as source, p.concept_id as from_concept_id,
           p.text_kind as from_kind
    from {missing_texts} p
    join {sibling_rows} r using (concept_id, text_kind, text_hash)
    union all
    select p.concept_id, p.text_kind, p.text_hash, 1, t.concept_id, t.text_kind
    from {missing_texts} p
    join {texts} t on t.text_hash = p.text_hash and t.text = p.text
) as sources
order by concept_id, text_kind, text_hash, source, from_concept_id, from_kind
