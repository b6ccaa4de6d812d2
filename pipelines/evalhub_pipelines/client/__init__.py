"""The client of Kubeflow Pipelines: the only part that talks to an installation."""
