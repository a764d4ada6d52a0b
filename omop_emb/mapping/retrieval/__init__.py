"""Retrieval: candidate concepts for source terms.

Indexes of a vocabulary, a space and a site's approvals, and the retrievers that search them.
"""
