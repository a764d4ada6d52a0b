"""Interface: what ETL code calls to embed, store and search concepts.

`EmbeddingInterface` ties an `EmbeddingClient` to a space and works in the caller's transaction;
`nearest_concepts_frame()` searches for a pandas column. Import both from `omop_emb`.
"""
