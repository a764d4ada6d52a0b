insert into omop_emb.build_failure (space_id, concept_id, text_kind, text_hash, reason)
select %(space)s, concept_id, text_kind, text_hash, %(reason)s
from {work} where chunk = %(chunk)s and input = %(input)s
on conflict (space_id, concept_id, text_kind, text_hash) do update set reason = excluded.reason, failed_at = now()
