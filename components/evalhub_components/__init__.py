"""What runs inside a task: the documents, the adapter interface and the steps of an evaluation."""

__version__ = "0.1.0"
