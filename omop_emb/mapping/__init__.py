"""From candidates to a mapping: features, probability, decision, files."""
