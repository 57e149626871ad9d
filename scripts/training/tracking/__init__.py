"""Everything that speaks to the tracking server."""
