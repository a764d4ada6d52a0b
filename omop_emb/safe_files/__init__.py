"""Files that are complete or absent, and files that nobody else can have put there, or damage unnoticed."""
