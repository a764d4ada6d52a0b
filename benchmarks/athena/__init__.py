"""A made-up Athena download of any size, and a fast made-up model for its names."""
