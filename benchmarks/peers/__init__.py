"""The servers that `benchmarks/predict.py` measures, and what it measures them with."""
