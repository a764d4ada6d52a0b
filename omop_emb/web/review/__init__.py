"""Review over HTTP: the pages on which people decide, and the JSON that they and other programs use."""
