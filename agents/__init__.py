"""What is learned: agents, their training and their export. Runs from a checkout; not part of the wheel."""
