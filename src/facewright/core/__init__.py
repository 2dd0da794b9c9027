"""What every room uses: errors, options, colour, array types, the SH basis, locations, provenance."""
