insert into omop_emb.space_count (space_id, domain, vocabulary, concept_class, standard, valid, row_count)
select %(space_id)s, domain, vocabulary, concept_class, standard, valid, count(*)
from {rows}
group by domain, vocabulary, concept_class, standard, valid
