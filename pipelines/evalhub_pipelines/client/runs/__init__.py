"""Runs on Kubeflow Pipelines: their state, logs and recorded verdict, and what can be done with them."""
