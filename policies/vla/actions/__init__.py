"""What the numbers of a prediction mean, and how they become commands. Pure functions on numpy arrays."""
