"""What `scripts/reproduce.py` reproduces, one module per part; each has a `sections(paths, seed)`."""
