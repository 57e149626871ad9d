"""The prediction service: serves the model that the registry's alias points at, typed by that model's own contract."""
