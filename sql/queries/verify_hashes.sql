-- Texts whose hash is not that of their filled-in template; approved aliases are embedded without a template.
-- Where texts may have pictures, which are not stored, the first half of the hash is that of the text alone.
select count(*) from {texts}
where text_hash <> {hash} and (text_kind <> 'a' or text_hash <> {plain_hash})
      and not ({may_have_pictures} and text_hash >> 32 = {plain_hash} >> 32)
