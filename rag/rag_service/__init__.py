"""Answers questions from a folder of documents, with verbatim quotes. Importing any module has no effect but this one:

FAISS's and CTranslate2's idle threads sleep, and numpy has none of its own. They would otherwise spin on the processor,
and what other threads compute meanwhile take twice as long, or many times that on a busy machine. It has to be said
before any of these is loaded.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
