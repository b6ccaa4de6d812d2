"""The documents that cross a process boundary, one module a document family."""
