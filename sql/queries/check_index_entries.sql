-- The entries of a B-tree index whose row is not in the table: never so, except where pages of the table are lost.
-- Entries that are marked dead count too: a search that meets a lost page marks them so.
with relation as (
    select i.indexrelid::regclass::text as index, i.indrelid::regclass::text as heap,
        pg_relation_size(i.indexrelid) / current_setting('block_size')::int as blocks
    from pg_index i where i.indexrelid = %(index)s::oid
), pages as (
    select index, b::int as block, s.btpo_next
    from relation cross join lateral generate_series(1, blocks - 1) b
        cross join lateral {schema}.bt_page_stats(index, b::int) s
    where s.btpo_level = 0 and s.type in ('l', 'r')
), entries as (
    select unnest(coalesce(i.tids, array[i.htid]))::text::point as address
    from pages p cross join lateral {schema}.bt_page_items(p.index, p.block) i
    where (p.btpo_next = 0 or i.itemoffset > 1)  -- the first is the page's upper bound
), addresses as materialized (
    select address[0]::int as block, address[1]::int as item from entries where address is not null
), items as (
    select b.block, h.lp as item
    from relation cross join (select distinct block from addresses) b
        cross join lateral {schema}.heap_page_items({schema}.get_raw_page(relation.heap, b.block)) h
    where h.lp_flags <> 0
)
select count(*) from addresses a where not exists (select from items i where (i.block, i.item) = (a.block, a.item))
