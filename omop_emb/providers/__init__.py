"""Embedding providers behind one small protocol."""
