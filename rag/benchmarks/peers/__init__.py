"""What the service is measured against: each a FastAPI program of its own, with the same two calls."""
