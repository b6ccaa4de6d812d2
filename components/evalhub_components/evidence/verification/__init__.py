"""Whether the evidence of a run is whole, by whom it is, and whether its verdict follows from it."""
