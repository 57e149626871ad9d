"""The pages for people, and the OpenAPI schema."""
