"""The server attacked as a stranger, a crowd and a failing machine would: what is lost, and what it costs."""
