"""A search over training recipes: what is searched, the study in its database, one trial, and what it came to."""
