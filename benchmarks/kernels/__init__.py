"""Time of each kernel beside a copy of the same bytes."""
