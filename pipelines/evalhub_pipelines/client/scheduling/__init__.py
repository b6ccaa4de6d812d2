"""Recurring runs on Kubeflow Pipelines, as files say."""
