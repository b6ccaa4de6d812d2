"""The step after the benchmarks: judges a run, keeps its evidence and logs it."""
