"""SQL that ships with omop-emb: numbered migrations and static queries."""
