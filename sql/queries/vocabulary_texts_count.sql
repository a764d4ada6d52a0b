select count(*) from texts
