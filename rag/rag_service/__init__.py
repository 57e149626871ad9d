"""Answers questions from a folder of documents, with verbatim quotes. Importing any module has no effect."""
