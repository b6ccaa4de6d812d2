"""The benchmark step: runs an adapter in a child process and always leaves results."""
