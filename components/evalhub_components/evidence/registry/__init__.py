"""A repository of a registry: logged in to, read from and written to."""
