"""Templates of the secrets and the config map whose names a pipeline's form takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from evalhub_pipelines.manifests.manifest import Manifest, metadata
from evalhub_pipelines.manifests.names import CA_CONFIG_MAP, SECRETS
from evalhub_pipelines.manifests.tenant import Tenant

PLACEHOLDER = "REPLACE-ME"
"""What every value in a template begins with."""

_DOCKER_CONFIG = "kubernetes.io/dockerconfigjson"
_AUTHS = {"auths": {PLACEHOLDER: {"username": PLACEHOLDER, "password": PLACEHOLDER}}}

_KEYS: dict[str, dict[str, str]] = {
    "model_secret": {
        "api-key": "the model's API key",
        "ca_cert": "PEM of the CA of the model's server; leave the key out for a public one",
        "hf-token": "token for the Hugging Face hub; leave the key out if no benchmark needs it",
    },
    "judge_secret": {"api-key": "the judge's API key", "ca_cert": "as for the model"},
    "mlflow_secret": {
        "token": "MLflow's token; or leave it out and give the other two",
        "username": "MLflow's user",
        "password": "MLflow's password",
    },
    "registry_secret": {".dockerconfigjson": ""},
    "signing_secret": {"private.key": "PEM as `evalhub-kfp keys generate` writes it", "public.key": "PEM beside it"},
    "test_data_ref.s3.secret_ref": {
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
        "AWS_DEFAULT_REGION": "",
        "AWS_S3_ENDPOINT": "address of the store; leave the key out for AWS",
    },
}

_MOUNTED = {
    "model_secret": "fingerprint and benchmarks",
    "judge_secret": "fingerprint and the benchmarks that ask a judge",
    "mlflow_secret": "aggregate alone",
    "registry_secret": "aggregate alone",
    "signing_secret": "aggregate alone",
    "test_data_ref.s3.secret_ref": "the task that fetches test data, alone",
}


def templates(tenant: Tenant) -> Iterator[Manifest]:
    """Yield a template for each secret, and one for the config map with CA certificates."""
    for taken_by, name in SECRETS.items():
        keys = _KEYS[taken_by]
        kind = _DOCKER_CONFIG if ".dockerconfigjson" in keys else "Opaque"
        values = {key: _placeholder(what) for key, what in keys.items()}
        if kind == _DOCKER_CONFIG:
            values = {".dockerconfigjson": json.dumps(_AUTHS)}
        command = [f"kubectl create secret generic {name} --namespace {tenant.namespace}"]
        command += [f"--type={kind}"] if kind != "Opaque" else []
        command += [f"--from-file={key}" for key in keys]
        yield Manifest(
            _object("Secret", name, tenant, {"type": kind, "stringData": values}),
            f"{taken_by}: {name}, mounted into {_MOUNTED[taken_by]}.\n"
            "Without a template, from files of these names:\n  " + " \\\n    ".join(command),
        )
    certificates = {"data": {"ca-bundle.crt": _placeholder("PEM of every CA that model, MLflow and registry need")}}
    yield Manifest(
        _object("ConfigMap", CA_CONFIG_MAP, tenant, certificates),
        f"ca_config_map: {CA_CONFIG_MAP}, for servers with certificates of a private CA. Without a template:\n"
        f"  kubectl create configmap {CA_CONFIG_MAP} --namespace {tenant.namespace} --from-file=ca-bundle.crt",
    )


def _placeholder(what: str) -> str:
    return f"{PLACEHOLDER} ({what})" if what else PLACEHOLDER


def _object(kind: str, name: str, tenant: Tenant, content: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata(name, tenant.namespace), **content}
