"""What an evaluation needs, looked at before it is paid for: this machine, Kubeflow, and the services it talks to."""

from __future__ import annotations

from evalhub_pipelines.doctor.asked import SCOPES, Scope
from evalhub_pipelines.doctor.examination import check
from evalhub_pipelines.doctor.finding import Finding, Mark, all_hold

__all__ = ["SCOPES", "Finding", "Mark", "Scope", "all_hold", "check"]
