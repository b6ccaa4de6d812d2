"""From results to a verdict: pure functions, without files, network, clock or environment."""
