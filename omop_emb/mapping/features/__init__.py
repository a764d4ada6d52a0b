"""Features: what a ranker sees of a term and a candidate, as numbers with names.

Similarity of texts, drugs, laboratory axes, approved neighbours, and how a candidate compares with the
term's others.
"""
