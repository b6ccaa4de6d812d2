"""From the results of the benchmarks to a verdict, its evidence and its records."""
