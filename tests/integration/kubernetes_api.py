"""The API of Kubernetes in this process, as far as `doctor` asks it: RBAC, keys of secrets, and failures to order.

Bodies are read by the models of `kubernetes` as strictly as a server with field validation reads them. Objects are
what `kubectl apply` would send: roles and bindings decide who may do what, as in a cluster.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client as models
from stub_http import Behaviour, Refusal, StubApi, StubRequest, served

TABLE = "as=Table"
READS_NOTHING: dict[str, Any] = {"rules": []}
EVERYTHING = {"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}
REASONS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden"}
REASONS |= {404: "NotFound", 405: "MethodNotAllowed", 409: "AlreadyExists"}


@dataclass
class KubernetesApi(StubApi):
    """Holds what was applied.

    Attributes:
        users: the name of each bearer token.
        named: `selfsubjectreviews` answers; older servers have none.
        written_by: whether writers of secrets left the names of their fields.
        invalid: what was wrong with request bodies.
    """

    users: dict[str, str] = field(default_factory=dict)
    named: bool = True
    written_by: bool = True
    objects: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    invalid: list[str] = field(default_factory=list)

    def apply(self, text: str) -> None:
        """Keep every document of a YAML file."""
        for document in yaml.safe_load_all(text):
            if document:
                self.add(document)

    def add(self, document: dict[str, Any]) -> None:
        metadata = document["metadata"]
        self.objects[document["kind"], metadata["namespace"], metadata["name"]] = document

    def secret(self, namespace: str, name: str, kind: str = "Opaque", **values: str) -> None:
        """Keep a secret; underscores in its keys stand for dots and hyphens as `KEYS` has them."""
        data = {KEYS.get(key, key): base64.b64encode(value.encode()).decode() for key, value in values.items()}
        self.add({"kind": "Secret", "type": kind, "data": data, "metadata": {"namespace": namespace, "name": name}})

    def allow(self, user: str, namespace: str, rules: Mapping[str, Any]) -> None:
        """Bind a user to rules, by a role of the user's name."""
        name = user.replace(":", "-")
        metadata = {"namespace": namespace, "name": name}
        account = user.split(":")
        subject = {"kind": "User", "name": user}
        if user.startswith("system:serviceaccount:"):
            subject = {"kind": "ServiceAccount", "namespace": account[2], "name": account[3]}
        self.add({"kind": "Role", "metadata": metadata, **rules})
        self.add(
            {
                "kind": "RoleBinding",
                "metadata": metadata,
                "roleRef": {"kind": "Role", "name": name},
                "subjects": [subject],
            }
        )

    def fail(self, method: str, path: str, behaviour: Behaviour, times: int = 1000) -> None:
        super().fail(method, path, behaviour, times)

    def may(self, user: str, groups: list[str], namespace: str, attributes: Mapping[str, Any]) -> bool:
        """Whether a role that is bound to the user or a group gives the right."""
        for (kind, place, _), binding in self.objects.items():
            if kind == "RoleBinding" and place == namespace and any(_is(s, user, groups) for s in binding["subjects"]):
                role = self.objects.get(("Role", namespace, binding["roleRef"]["name"]), READS_NOTHING)
                if any(_gives(rule, attributes) for rule in role["rules"]):
                    return True
        return False

    def kubeconfig(self, folder: Path, token: str, ca: Path | None = None) -> Path:
        """Write a configuration as kubectl has one, and return it."""
        cluster = {"server": self.address} | ({"certificate-authority": str(ca)} if ca else {})
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path = folder / "kubeconfig.yaml"
        path.write_text(yaml.safe_dump(document))
        return path


KEYS = {"api_key": "api-key", "private_key": "private.key", "dockerconfigjson": ".dockerconfigjson"}


def _is(subject: Mapping[str, str], user: str, groups: list[str]) -> bool:
    if subject["kind"] == "ServiceAccount":
        return user == f"system:serviceaccount:{subject['namespace']}:{subject['name']}"
    return subject["name"] == user if subject["kind"] == "User" else subject["name"] in groups


def _gives(rule: Mapping[str, Any], attributes: Mapping[str, Any]) -> bool:
    def has(key: str, value: str) -> bool:
        return bool({"*", value} & set(rule[key]))

    resource = "/".join(filter(None, [attributes["resource"], attributes.get("subresource")]))
    names = rule.get("resourceNames")
    return (
        has("apiGroups", attributes.get("group", ""))
        and has("resources", resource)
        and has("verbs", attributes["verb"])
        and (not names or attributes.get("name") in names)
    )


def problems(value: Any, model: str, where: str = "") -> list[str]:
    """Everything in `value` that is no field of the model, or has another type."""
    if model.startswith("list["):
        if not isinstance(value, list):
            return [f"{where}: must be a list"]
        return [found for item in value for found in problems(item, model[5:-1], f"{where}[]")]
    if model.startswith("dict("):
        return [] if isinstance(value, dict) else [f"{where}: must be an object"]
    if model in ("str", "bool", "int", "object", "datetime"):
        wanted = {"str": str, "bool": bool, "int": int, "datetime": str}.get(model, object)
        return [] if isinstance(value, wanted) else [f"{where}: must be {model}"]
    kind = getattr(models, model)
    attributes = {name: attribute for attribute, name in kind.attribute_map.items()}
    found = []
    for key, item in value.items() if isinstance(value, dict) else [("", None)]:
        if key not in attributes:
            found.append(f"{where}.{key}: unknown field of {model}")
        elif item is not None:
            found += problems(item, kind.openapi_types[attributes[key]], f"{where}.{key}")
    return found


def failure(refusal: Refusal) -> dict[str, Any]:
    """What is answered instead of an object."""
    status = {"status": "Failure", "message": str(refusal), "reason": REASONS[refusal.status], "code": refusal.status}
    return {"apiVersion": "v1", "kind": "Status", "metadata": {}, **status}


class Request(StubRequest):
    """One request."""

    api: KubernetesApi

    def serve(self) -> None:
        """Answer as always."""
        try:
            self.say(201 if self.command == "POST" else 200, self._found())
        except Refusal as refusal:
            self.say(refusal.status, failure(refusal))

    def _found(self) -> dict[str, Any]:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self.api.users:
            raise Refusal(401, "Unauthorized")
        user = self.api.users[token]
        match self.command, self.route.strip("/").split("/"):
            case "POST", ["apis", "authentication.k8s.io", "v1", "selfsubjectreviews"] if self.api.named:
                self._checked("V1SelfSubjectReview")
                return {"status": {"userInfo": {"username": user, "groups": ["system:authenticated"]}}}
            case "POST", ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"]:
                attributes = self._checked("V1SelfSubjectAccessReview")["spec"]["resourceAttributes"]
                return {"status": {"allowed": self._may(user, attributes)}}
            case "POST", ["apis", "authorization.k8s.io", "v1", "namespaces", namespace, "localsubjectaccessreviews"]:
                return self._of_another(user, namespace)
            case "GET", ["api", "v1", "namespaces", namespace, kind, name]:
                return self._read(user, namespace, kind, name)
        raise Refusal(404, "the server could not find the requested resource")

    def _of_another(self, user: str, namespace: str) -> dict[str, Any]:
        self._need(user, namespace, "create", "localsubjectaccessreviews", "authorization.k8s.io")
        spec = self._checked("V1LocalSubjectAccessReview")["spec"]
        if spec["resourceAttributes"].get("namespace") != namespace:
            raise Refusal(400, "spec.resourceAttributes.namespace must be that of the request")
        allowed = self.api.may(spec["user"], spec.get("groups", []), namespace, spec["resourceAttributes"])
        return {"status": {"allowed": allowed}}

    def _read(self, user: str, namespace: str, kind: str, name: str) -> dict[str, Any]:
        self._need(user, namespace, "get", kind, "", name)
        kinds = {"secrets": "Secret", "configmaps": "ConfigMap", "serviceaccounts": "ServiceAccount"}
        found = self.api.objects.get((kinds[kind], namespace, name))
        if found is None:
            raise Refusal(404, f'{kind} "{name}" not found')
        if kind == "secrets" and TABLE in self.headers.get("Accept", ""):
            return self._table(found)
        return found

    def _table(self, secret: Mapping[str, Any]) -> dict[str, Any]:
        """What `kubectl get` asks for: the cells of a line, and the metadata where these are asked for."""
        metadata = dict(secret["metadata"])
        if self.api.written_by:
            fields = {"f:data": {".": {}, **{f"f:{key}": {} for key in secret["data"]}}, "f:type": {}}
            metadata["managedFields"] = [{"manager": "kubectl-create", "fieldsType": "FieldsV1", "fieldsV1": fields}]
        row: dict[str, Any] = {"cells": [metadata["name"], secret["type"], len(secret["data"]), "5d"]}
        if self.query.get("includeObject") == "Metadata":
            row["object"] = {"kind": "PartialObjectMetadata", "metadata": metadata}
        columns = [{"name": name} for name in ("Name", "Type", "Data", "Age")]
        return {"kind": "Table", "columnDefinitions": columns, "rows": [row]}

    def _may(self, user: str, attributes: Mapping[str, Any]) -> bool:
        return self.api.may(user, ["system:authenticated"], attributes.get("namespace", ""), attributes)

    def _need(self, user: str, namespace: str, verb: str, resource: str, group: str, name: str = "") -> None:
        wanted = {"namespace": namespace, "verb": verb, "resource": resource, "group": group, "name": name}
        if not self._may(user, wanted):
            raise Refusal(403, f'{resource} is forbidden: User "{user}" cannot {verb} resource "{resource}"')

    def _checked(self, model: str) -> dict[str, Any]:
        found = problems(self.body, model)
        if found:
            self.api.invalid += found
            raise Refusal(400, "; ".join(found))
        body: dict[str, Any] = self.body
        return body


def kubernetes_api(
    users: Mapping[str, str], certificate_and_key: tuple[Path, Path] | None = None
) -> AbstractContextManager[KubernetesApi]:
    """A server inside the block; `users` are names by token."""
    return served(KubernetesApi(users=dict(users)), Request, certificate_and_key)
