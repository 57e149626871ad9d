"""The servers that `benchmarks/predict.py` measures, and what the benchmarks measure with."""
