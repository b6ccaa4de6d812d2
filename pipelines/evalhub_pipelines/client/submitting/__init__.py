"""Starting runs on Kubeflow Pipelines: the pipeline, its version on the server, and what the run is given."""
