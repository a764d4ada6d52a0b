-- A failure is deleted once its text was embedded after all, or the vocabulary no longer has it.
delete from omop_emb.build_failure f
where f.space_id = %(space)s and (
    exists (
        select from {texts} t
        where (t.concept_id, t.text_kind, t.text_hash) = (f.concept_id, f.text_kind, f.text_hash)
    )
    or f.failed_at < (select started_at from omop_emb.build b where b.space_id = f.space_id)
)
