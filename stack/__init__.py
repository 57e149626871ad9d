"""The drivers behind `make`: they start the programs of this project, drive them over HTTP as a user would, and stop them."""
