"""What a namespace on Kubernetes needs for evaluations, as YAML for `kubectl apply`: accounts, rights and network.

Everything here is a function of what was asked for: no cluster is looked at, and the same tenant gives the same bytes.
"""

from __future__ import annotations

from evalhub_pipelines.manifests.parsing import tenant_of
from evalhub_pipelines.manifests.tenant import Tenant


def render(asked: Tenant) -> str:
    """Return the manifests of a tenant's namespace as documents for `kubectl apply`, explained in comments."""
    # yaml is read here, so that the command line can offer its options without it
    from evalhub_pipelines.manifests import access, credentials, network, rendering

    rights = [*access.of_runs(asked), *access.of_models(asked), *access.of_submitters(asked)]
    objects = [*rights, *network.policies(asked)]
    return rendering.render(asked, objects, credentials.templates(asked))


__all__ = ["Tenant", "render", "tenant_of"]
