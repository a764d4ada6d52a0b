-- A hash of each vector beside its text, so that an upsert of the same vector need not send it to be compared.
-- Tables of spaces made from now on have the column from the beginning.
do $$
declare
    id integer;
begin
    for id in select space_id from omop_emb.space loop
        execute format('alter table omop_emb.space_%s_text add column if not exists vector_hash bigint', id);
    end loop;
end
$$;
