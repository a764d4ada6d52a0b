"""Qdrant: a published copy of a space, and searches of it.

`QdrantStore` searches; `indexing.publish` copies a space into a collection. Needs the extra qdrant.
"""
