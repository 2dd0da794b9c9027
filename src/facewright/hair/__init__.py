"""Hair: its volume, what hangs, its colour and its strands."""
