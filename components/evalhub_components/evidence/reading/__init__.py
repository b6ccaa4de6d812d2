"""Evidence that somebody else made: read in bounds, and believed in nothing."""
