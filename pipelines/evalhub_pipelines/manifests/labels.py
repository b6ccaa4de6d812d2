"""The label that tells the pods of a pipeline apart; network policies select by it.

Kubeflow Pipelines labels every pod of a run alike (`pipelines.kubeflow.org/v2_component: "true"`), whatever it does.
"""

from __future__ import annotations

from typing import Literal

STEP = "evalhub-kfp/step"
"""Key of the label; its value says what the pod talks to."""

Step = Literal["benchmark", "aggregate", "test-data", "other"]
"""`benchmark` asks a model (fingerprints do too), `aggregate` publishes, `test-data` fetches, `other` needs nobody."""
