"""The fingerprint step: which model answers at this endpoint."""
