-- Texts whose hash is not that of their filled-in template; approved aliases are embedded without a template.
select count(*) from {texts}
where text_hash <> {hash} and (text_kind <> 'a' or text_hash <> {plain_hash})
