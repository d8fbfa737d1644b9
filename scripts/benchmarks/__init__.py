"""What the benchmark command measures, one module per subject."""
