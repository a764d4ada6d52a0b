"""REST: search, concepts, mapping and the state of the server, as JSON described by OpenAPI."""
