"""What every room uses: errors, options, colour, array types, SH basis, a clock, locations, provenance."""
