"""Names of what the templates make, and what Kubernetes accepts as a name."""

from __future__ import annotations

SECRETS = {
    "model_secret": "model-credentials",
    "judge_secret": "judge-credentials",
    "mlflow_secret": "mlflow-credentials",
    "registry_secret": "registry-credentials",
    "signing_secret": "evidence-signing",
    "test_data_ref.s3.secret_ref": "test-data-s3",
}
"""Name of each secret, by the pipeline's input or the key in a collection that takes it."""

CA_CONFIG_MAP = "ca-certificates"
"""Name of the config map for the input `ca_config_map`."""

LABEL_RULE = "lower-case letters, digits and '-', at most 63"
SUBDOMAIN_RULE = "lower-case letters, digits, '-' and '.', at most 253"
