"""The calls, each in the form that its clients know."""
