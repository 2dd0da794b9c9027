"""Runs stages, in Triton's stub or in this process: requests, options, failure, clock, metrics."""
