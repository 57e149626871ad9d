"""From the registry to a verified model in memory."""
