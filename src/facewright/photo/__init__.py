"""From encoded bytes to the crop of one face."""
