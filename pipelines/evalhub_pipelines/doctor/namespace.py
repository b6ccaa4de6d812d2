"""The checks of Kubeflow and of the namespace that runs happen in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from evalhub_components.errors import MissingExtra
from evalhub_pipelines.client.cluster import Cluster, Unconfigured
from evalhub_pipelines.doctor import cluster_secrets, kubeflow, rights, wanted_secrets
from evalhub_pipelines.doctor.asked import Asked
from evalhub_pipelines.doctor.checks import Check, Unseen
from evalhub_pipelines.doctor.finding import Finding
from evalhub_pipelines.doctor.wanted_secrets import Wanted
from evalhub_pipelines.manifests.names import SECRETS


def checks(asked: Asked) -> Iterator[Check]:
    """Yield what is looked at for runs on the cluster."""
    here = _Namespace(asked, Cluster(asked.timeout))
    yield Check(kubeflow.NAMES, here.kubeflow)
    yield Check([rights.KUBERNETES, rights.SUBMITTER], here.submitter)
    yield Check([rights.ACCOUNT], here.account)
    yield Check([rights.RUNNER], here.runs)
    for wanted in wanted_secrets.of(asked.found, asked.mlflow_secret):
        yield Check([f"secret {wanted.name}"], partial(here.secret, wanted))
    if asked.ca_config_map:
        yield Check([f"config map {asked.ca_config_map}"], partial(here.certificates, asked.ca_config_map))


@dataclass(frozen=True)
class _Namespace:
    asked: Asked
    cluster: Cluster

    def kubeflow(self) -> Iterator[Finding]:
        yield from kubeflow.look(self.asked.connection)

    def submitter(self) -> Iterator[Finding]:
        try:
            who = rights.whoami(self.cluster)
        except Unconfigured as error:
            raise Unseen(str(error)) from None
        yield Finding(rights.KUBERNETES, "ok", f"{self.cluster.address}, as {who or 'somebody it does not name'}")
        yield from rights.of_submitter(self.cluster, self.asked.tenant(), who, self.asked.has_several_users)

    def account(self) -> Iterator[Finding]:
        yield from rights.account(self._configured(), self.asked.tenant())

    def runs(self) -> Iterator[Finding]:
        named = {wanted.name for wanted in wanted_secrets.of(self.asked.found, self.asked.mlflow_secret)}
        # these must not be read whether or not this evaluation has them
        named |= {SECRETS["registry_secret"], SECRETS["signing_secret"]}
        yield from rights.of_runs(self._configured(), self.asked.tenant(), named)

    def secret(self, wanted: Wanted) -> Iterator[Finding]:
        place = self.asked.tenant().namespace
        yield from cluster_secrets.look(self._configured(), place, wanted, f"secret {wanted.name}")

    def certificates(self, name: str) -> Iterator[Finding]:
        place = self.asked.tenant().namespace
        yield from cluster_secrets.certificates(self._configured(), place, name, f"config map {name}")

    def _configured(self) -> Cluster:
        """Return the cluster; what keeps it from being asked at all is said once, by the check of Kubernetes itself."""
        try:
            self.cluster.api  # noqa: B018 - it reads the configuration
        except (Unconfigured, MissingExtra):
            raise Unseen(f"could not be looked at (see {rights.KUBERNETES})") from None
        return self.cluster
