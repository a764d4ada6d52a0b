"""Features: what a ranker reads of a term and a candidate, as numbers with names.

Each module declares its FEATURES; feature_names.py lists them all in the order of the columns.
"""
