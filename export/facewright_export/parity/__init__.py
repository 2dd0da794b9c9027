"""Whether a file computes what its module does."""
