-- Texts whose hash is not that of what is embedded for them; approved aliases are embedded as they are.
select count(*) from {texts}
where text_hash <> {hash} and (text_kind <> 'a' or text_hash <> {plain_hash})
