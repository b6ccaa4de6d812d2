"""A judged run written as an OCI artifact."""
