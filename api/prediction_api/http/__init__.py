"""What lies around every request: identity, limits, keys, problems."""
