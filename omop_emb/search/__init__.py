"""Search: the nearest concepts of query vectors, exactly or through an index.

`search.search()` takes vectors and `SearchOptions`; the planner chooses between SQL, an index of measured
recall, and a memory-mapped matrix. `SearchResult` holds the matches and the `SearchPlan` that found them.
"""
