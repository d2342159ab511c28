"""Benchmarks of many coins; `tests/bench_scale.py` runs them and prints their bars."""
