"""A sweep: many tasks from one file, on processes or a cluster, into one dataset that a rerun completes."""
