"""Hair: its volume, what falls, its colour, its strands, what it covers; its line is `head.hairline`'s."""
