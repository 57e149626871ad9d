"""The training job: from a table to a promoted model. The scripts beside this package are its command line."""
