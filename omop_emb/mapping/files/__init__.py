"""Mapping files in and out: tables of terms, Usagi's CSV, source_to_concept_map, candidates, journals."""
