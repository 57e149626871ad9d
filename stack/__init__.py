"""The drivers behind `make`: they start the programs, drive them over HTTP as a user would, and stop them."""
