"""A whole table scored as the service would."""
