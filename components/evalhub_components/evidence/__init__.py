"""A run as OCI artifacts: built, pushed, signed, pulled and verified."""
