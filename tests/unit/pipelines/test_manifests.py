import ipaddress
import json
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import yaml
from click.testing import CliRunner

from evalhub_components.errors import InvalidDocument
from evalhub_pipelines import manifests
from evalhub_pipelines.cli.manifests import manifests as command
from evalhub_pipelines.compiler.pipeline import INPUTS, JUDGE_INPUTS
from evalhub_pipelines.manifests import credentials, labels, names, network

MODELS = {
    ("v1", "ServiceAccount"): "V1ServiceAccount",
    ("v1", "Secret"): "V1Secret",
    ("v1", "ConfigMap"): "V1ConfigMap",
    ("rbac.authorization.k8s.io/v1", "Role"): "V1Role",
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): "V1RoleBinding",
    ("networking.k8s.io/v1", "NetworkPolicy"): "V1NetworkPolicy",
}

SUBJECTS = ("User:alice@example.com", "Group:evals", "ServiceAccount:ci", "serviceaccount:tekton/runner")
CIDRS: Any = {"api": ["10.0.0.1/32"], "registry": ["192.0.2.7/32:443"], "data": ["198.51.100.0/24:443"]}
NAMESPACES: Any = {"model": ["serving:8080"], "mlflow": ["mlflow"]}
FULL: Any = {"subjects": SUBJECTS, "cidrs": CIDRS, "namespaces": NAMESPACES}


def rendered(**asked: Any) -> str:
    return manifests.render(manifests.tenant_of(**{"namespace": "team-a", **asked}))


def applied(text: str) -> list[dict[str, Any]]:
    """Returns what `kubectl apply` reads in a file."""
    return list(yaml.safe_load_all(text))


def uncommented(text: str) -> list[dict[str, Any]]:
    """Returns what the command in the file takes out of it: `sed -n 's/^#: //p'`."""
    lines = [line.removeprefix("#: ") for line in text.splitlines() if line.startswith("#: ")]
    return list(yaml.safe_load_all("\n".join(lines)))


def of_kind(text: str, kind: str) -> dict[str, dict[str, Any]]:
    return {entry["metadata"]["name"]: entry for entry in applied(text) if entry["kind"] == kind}


def through_the_models(content: dict[str, Any]) -> Any:
    """Returns `content` as the official client's models keep it: without what they do not know."""
    from kubernetes.client import ApiClient

    client = ApiClient()
    model = MODELS[content["apiVersion"], content["kind"]]
    return client.sanitize_for_serialization(client.deserialize(SimpleNamespace(data=json.dumps(content)), model))


def may(text: str, subject: dict[str, str], verb: str, group: str, resource: str, name: str) -> bool:
    """Tells what Kubernetes' RBAC decides."""
    roles = of_kind(text, "Role")
    for binding in of_kind(text, "RoleBinding").values():
        if not any(subject.items() <= bound.items() for bound in binding["subjects"]):
            continue
        for rule in roles[binding["roleRef"]["name"]]["rules"]:
            if (
                group in rule["apiGroups"]
                and resource in rule["resources"]
                and verb in rule["verbs"]
                and name in rule.get("resourceNames", [name])
            ):
                return True
    return False


RUNNER = {"kind": "ServiceAccount", "name": "evalhub-runner", "namespace": "team-a"}
ALICE = {"kind": "User", "name": "alice@example.com"}


def reaches(text: str, step: str | None, where: str, port: int, protocol: str = "TCP") -> bool:
    """Tells whether a pod of a step may connect to an address or, by name, to a pod of a namespace."""
    pod = {} if step is None else {labels.STEP: step}
    chosen = [policy for policy in of_kind(text, "NetworkPolicy").values() if selects(policy["spec"], pod)]
    rules = [rule for policy in chosen for rule in policy["spec"]["egress"]]
    return not chosen or any(
        {"protocol": protocol, "port": port} in rule.get("ports", [{"protocol": protocol, "port": port}])
        and any(matches(peer, where) for peer in rule["to"])
        for rule in rules
    )


def selects(spec: dict[str, Any], pod: dict[str, str]) -> bool:
    selector = spec["podSelector"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert selector, "an empty selector would hold for every pod of the namespace"
    wanted = selector.get("matchLabels", {}).items() <= pod.items()
    return wanted and all(entry["key"] in pod for entry in selector.get("matchExpressions", []))


def matches(peer: dict[str, Any], where: str) -> bool:
    if "ipBlock" in peer:
        try:
            return ipaddress.ip_address(where) in ipaddress.ip_network(peer["ipBlock"]["cidr"])
        except ValueError:
            return False
    (wanted,) = peer["namespaceSelector"]["matchExpressions"]
    assert wanted["key"] == "kubernetes.io/metadata.name"
    return where in wanted["values"]


@pytest.mark.parametrize("asked", [{}, FULL, {"store_secret": None}], ids=["least", "all", "no store secret"])
def test_every_object_is_what_the_kubernetes_client_knows(asked: dict[str, Any]) -> None:
    text = rendered(**asked)
    objects = applied(text) + uncommented(text)
    assert {entry["kind"] for entry in objects} >= {"ServiceAccount", "Role", "RoleBinding", "Secret", "ConfigMap"}
    for entry in objects:
        assert through_the_models(entry) == entry
        assert entry["metadata"]["namespace"] == "team-a"


def test_an_unknown_field_would_be_seen() -> None:
    role = of_kind(rendered(), "Role")["evalhub-runner"]
    role["rules"][0]["resourcesNames"] = ["kfp-launcher"]
    assert through_the_models(role) != role
    del role["rules"][0]["verbs"]
    with pytest.raises(ValueError, match="verbs"):
        through_the_models(role)


def test_names_are_there_once_of_each_kind() -> None:
    text = rendered(**FULL)
    found = [(entry["kind"], entry["metadata"]["name"]) for entry in applied(text) + uncommented(text)]
    assert len(found) == len(set(found))


@pytest.mark.parametrize("asked", [{}, FULL], ids=["least", "all"])
@pytest.mark.parametrize("name", [*names.SECRETS.values(), "anything"])
def test_neither_runs_nor_submitters_read_a_secret_through_the_api(asked: dict[str, Any], name: str) -> None:
    text = rendered(**asked)
    for subject, verb in product([RUNNER, ALICE], ["get", "list", "watch", "create", "update", "patch", "delete"]):
        assert not may(text, subject, verb, "", "secrets", name)


def test_runs_get_the_object_stores_secret_by_name_and_may_not_list() -> None:
    text = rendered(store_secret="store")
    assert may(text, RUNNER, "get", "", "secrets", "store")
    assert not may(text, RUNNER, "list", "", "secrets", "store")
    assert not may(text, RUNNER, "get", "", "secrets", "mlpipeline-minio-artifact")


def test_no_rule_names_secrets_where_the_launcher_finds_its_credentials_elsewhere() -> None:
    rules = [rule for role in of_kind(rendered(store_secret=None), "Role").values() for rule in role["rules"]]
    assert rules
    assert not any("secrets" in rule["resources"] for rule in rules)


def test_no_rule_holds_a_wildcard_and_what_runs_may_is_short() -> None:
    roles = of_kind(rendered(**FULL), "Role")
    assert not any("*" in rule[key] for role in roles.values() for rule in role["rules"] for key in rule)
    assert [(rule["resources"], rule["verbs"]) for rule in roles["evalhub-runner"]["rules"]] == [
        (["configmaps"], ["get"]),
        (["workflowtaskresults"], ["create", "patch"]),
        (["secrets"], ["get"]),
    ]


@pytest.mark.parametrize(
    ("resource", "verb"),
    [
        ("pipelines", "create"),
        ("pipelines", "list"),
        ("pipelines/versions", "create"),
        ("experiments", "create"),
        ("experiments", "get"),
        *(
            ("runs", verb)
            for verb in ("get", "list", "create", "terminate", "retry", "delete", "readArtifact", "readLog")
        ),
        *(("jobs", verb) for verb in ("get", "list", "create", "enable", "disable", "delete")),
    ],
)
def test_submitters_may_what_kubeflow_asks_for_and_runs_may_not(resource: str, verb: str) -> None:
    text = rendered(**FULL)
    assert may(text, ALICE, verb, "pipelines.kubeflow.org", resource, "x")
    assert not may(text, RUNNER, verb, "pipelines.kubeflow.org", resource, "x")
    assert not may(text, {"kind": "User", "name": "mallory"}, verb, "pipelines.kubeflow.org", resource, "x")


def test_submitters_read_logs_and_nothing_else_of_pods() -> None:
    text = rendered(**FULL)
    assert may(text, ALICE, "get", "", "pods/log", "x")
    # the log of a pod is asked for by the name that the run tells
    assert not any(may(text, ALICE, verb, "", "pods", "x") for verb in ("get", "list", "watch"))


def test_runs_may_get_the_models_on_kserve_that_are_named_and_no_others() -> None:
    text = rendered(kserve=["models/granite", "models/judge", "team-a/own", "models/judge"])
    name = "team-a.evalhub-runner"
    found = {(entry["kind"], entry["metadata"]["namespace"]): entry for entry in applied(text) if name in str(entry)}
    assert set(found) == {(kind, place) for kind in ("Role", "RoleBinding") for place in ("models", "team-a")}
    for place, models in (("models", ["granite", "judge"]), ("team-a", ["own"])):
        role, binding = found["Role", place], found["RoleBinding", place]
        assert role["rules"] == [
            {
                "apiGroups": ["serving.kserve.io"],
                "resources": ["inferenceservices", "llminferenceservices"],
                "verbs": ["get"],
                "resourceNames": models,
            }
        ]
        assert binding["subjects"] == [RUNNER]
        assert binding["roleRef"]["name"] == role["metadata"]["name"] == name
        assert through_the_models(role) == role
        assert through_the_models(binding) == binding
    assert "serving.kserve.io" not in rendered(**FULL)


def test_submitters_use_the_account_of_runs_and_no_other() -> None:
    text = rendered(**FULL, runner="runs")
    assert may(text, ALICE, "use", "", "serviceaccounts", "runs")
    assert not may(text, ALICE, "use", "", "serviceaccounts", "default-editor")
    assert set(of_kind(text, "ServiceAccount")) == {"runs"}
    assert of_kind(text, "RoleBinding")["runs"]["subjects"] == [RUNNER | {"name": "runs"}]


def test_users_groups_and_service_accounts_are_bound_as_what_they_are() -> None:
    binding = of_kind(rendered(subjects=SUBJECTS), "RoleBinding")["evalhub-submitter"]
    group = "rbac.authorization.k8s.io"
    assert binding["subjects"] == [
        {"apiGroup": group, "kind": "User", "name": "alice@example.com"},
        {"apiGroup": group, "kind": "Group", "name": "evals"},
        {"kind": "ServiceAccount", "name": "ci", "namespace": "team-a"},
        {"kind": "ServiceAccount", "name": "runner", "namespace": "tekton"},
    ]
    assert binding["roleRef"] == {"apiGroup": group, "kind": "Role", "name": "evalhub-submitter"}


def test_a_name_may_have_colons_and_be_given_twice() -> None:
    binding = of_kind(rendered(subjects=["User:oidc:alice", "user:oidc:alice"]), "RoleBinding")["evalhub-submitter"]
    assert [subject["name"] for subject in binding["subjects"]] == ["oidc:alice"]


def test_without_subjects_nobody_is_bound_and_the_file_says_so() -> None:
    text = rendered()
    assert set(of_kind(text, "RoleBinding")) == {"evalhub-runner"}
    assert "# Nobody may submit yet: --subject" in text


def test_applying_the_file_touches_no_secret() -> None:
    text = rendered(**FULL)
    assert {entry["kind"] for entry in applied(text)} == {"ServiceAccount", "Role", "RoleBinding", "NetworkPolicy"}
    assert None not in applied(text)
    assert {entry["kind"] for entry in uncommented(text)} == {"Secret", "ConfigMap"}


def test_templates_have_the_keys_that_tasks_read_and_nothing_but_placeholders() -> None:
    found = {entry["metadata"]["name"]: entry for entry in uncommented(rendered())}
    values = {name: entry.get("stringData") or entry["data"] for name, entry in found.items()}
    assert {name: list(keys) for name, keys in values.items()} == {
        "model-credentials": ["api-key", "ca_cert", "hf-token"],
        "judge-credentials": ["api-key", "ca_cert"],
        "mlflow-credentials": ["token", "username", "password"],
        "registry-credentials": [".dockerconfigjson"],
        "evidence-signing": ["private.key", "public.key"],
        "test-data-s3": ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_S3_ENDPOINT"],
        "ca-certificates": ["ca-bundle.crt"],
    }
    assert found["registry-credentials"]["type"] == "kubernetes.io/dockerconfigjson"
    docker = json.loads(values.pop("registry-credentials")[".dockerconfigjson"])
    assert docker == {"auths": {"REPLACE-ME": {"username": "REPLACE-ME", "password": "REPLACE-ME"}}}
    assert all(value.startswith(credentials.PLACEHOLDER) for keys in values.values() for value in keys.values())


def test_every_secret_of_the_form_has_a_template_that_names_its_input() -> None:
    wanted = {name for name in {**INPUTS, **JUDGE_INPUTS} if name.endswith("_secret")}
    assert {name for name in names.SECRETS if not name.startswith("test_data_ref")} == wanted
    text = rendered()
    for taken_by, name in {**names.SECRETS, "ca_config_map": names.CA_CONFIG_MAP}.items():
        assert f"# {taken_by}: {name}, " in text


@pytest.mark.parametrize("step", get_args(labels.Step))
def test_every_step_reaches_what_a_task_needs_and_no_stranger(step: str) -> None:
    text = rendered(**FULL)
    for where, port, protocol in (
        ("kube-system", 53, "UDP"),
        ("openshift-dns", 5353, "TCP"),
        ("169.254.20.10", 53, "UDP"),
        ("kubeflow", 8080, "TCP"),
        ("kubeflow", 8887, "TCP"),
        ("kubeflow", 9000, "TCP"),
        ("10.0.0.1", 6443, "TCP"),
    ):
        assert reaches(text, step, where, port, protocol)
    for where, port, protocol in (
        ("203.0.113.9", 443, "TCP"),
        ("203.0.113.9", 53, "UDP"),  # names are asked of the cluster's own servers alone
        ("kube-system", 443, "TCP"),
        ("kubeflow", 3306, "TCP"),
        ("team-b", 8080, "TCP"),
        ("10.0.0.1", 22, "TCP"),
    ):
        assert not reaches(text, step, where, port, protocol)


@pytest.mark.parametrize(
    ("where", "port", "steps"),
    [
        ("serving", 8080, {"benchmark"}),
        ("serving", 22, set()),
        ("192.0.2.7", 443, {"aggregate"}),
        ("mlflow", 5000, {"aggregate"}),
        ("198.51.100.9", 443, {"test-data"}),
    ],
)
def test_only_the_step_that_needs_a_destination_reaches_it(where: str, port: int, steps: set[str]) -> None:
    text = rendered(**FULL)
    assert {step for step in get_args(labels.Step) if reaches(text, step, where, port)} == steps


def test_pods_of_other_pipelines_are_left_alone() -> None:
    assert reaches(rendered(**FULL), None, "203.0.113.9", 443)


def test_nobody_connects_to_a_step() -> None:
    policies = of_kind(rendered(**FULL), "NetworkPolicy").values()
    assert policies
    assert all("ingress" not in policy["spec"] for policy in policies)


def test_an_object_store_elsewhere_takes_the_place_of_kubeflows() -> None:
    text = rendered(cidrs={**CIDRS, "store": ["192.0.2.128/25:9000"]}, namespaces=NAMESPACES)
    assert reaches(text, "other", "192.0.2.200", 9000)
    assert not reaches(text, "other", "kubeflow", 9000)
    assert reaches(text, "other", "kubeflow", 8887)


def test_without_destinations_there_are_no_policies_and_the_file_says_so() -> None:
    text = rendered(subjects=SUBJECTS)
    assert not of_kind(text, "NetworkPolicy")
    assert "# No network policies: --model-namespace or --model-cidr" in text
    assert "No network policies" not in rendered(**FULL)


def test_every_step_that_reaches_more_is_a_step() -> None:
    assert set(network.REACHES) <= set(get_args(labels.Step))


def problems(**asked: Any) -> list[str]:
    with pytest.raises(InvalidDocument) as raised:
        rendered(**asked)
    return [str(problem) for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"namespace": "Team_A"}, "--namespace 'Team_A': is no namespace"),
        ({"namespace": "a" * 64}, "at most 63"),
        ({"namespace": "team-a\n"}, "is no namespace"),
        ({"namespace": "kube-system"}, "belongs to Kubernetes itself"),
        ({"kfp_namespace": "-"}, "--kfp-namespace '-'"),
        ({"runner": "default"}, "is shared"),
        ({"runner": "default-editor"}, "is shared"),
        ({"runner": "Runs"}, "is no service account"),
        ({"store_secret": "evidence-signing"}, "no run may read through the API"),
        ({"store_secret": "a b"}, "--store-secret 'a b': is no secret"),
        ({"kserve": ["granite"]}, "--kserve 'granite': must be NAMESPACE/NAME"),
        ({"kserve": ["models/"]}, "must be NAMESPACE/NAME"),
        ({"kserve": ["models/a/b"]}, "must be NAMESPACE/NAME"),
        ({"kserve": ["Models/a"]}, "must be NAMESPACE/NAME"),
        ({"subjects": ["alice"]}, "must be User:NAME, Group:NAME or ServiceAccount:[NAMESPACE/]NAME"),
        ({"subjects": ["Robot:r2"]}, "must be User:NAME"),
        ({"subjects": ["User:"]}, "must have a name"),
        ({"subjects": ["User: alice"]}, "without spaces around it"),
        ({"subjects": ["User:a\nb"]}, "printable"),
        ({"subjects": ["Group:system:authenticated"]}, "is not one tenant"),
        ({"subjects": ["User:system:serviceaccount:a:b"]}, "write ServiceAccount:NAMESPACE/NAME"),
        ({"subjects": ["ServiceAccount:A"]}, "names no service account"),
        ({"subjects": ["ServiceAccount:A/b"]}, "is in no namespace"),
        ({"cidrs": {**CIDRS, "model": ["10.0.0.1"]}}, "must be CIDR or CIDR:PORT"),
        ({"cidrs": {**CIDRS, "model": ["10.0.0.1/8"]}}, "--model-cidr '10.0.0.1/8': is no network"),
        ({"cidrs": {**CIDRS, "model": ["0.0.0.0/0"]}}, "is every address there is"),
        ({"cidrs": {**CIDRS, "model": ["10.0.0.0/8:0"]}}, "has no port"),
        ({"cidrs": CIDRS, "namespaces": {"model": ["serving:http"]}}, "must be NAMESPACE or NAMESPACE:PORT"),
        ({"cidrs": CIDRS}, "--model-cidr: is missing"),
        ({"namespaces": NAMESPACES}, "--api-cidr: is missing"),
    ],
)
def test_what_is_wrong_is_said_with_what_would_be_right(asked: dict[str, Any], words: str) -> None:
    (found,) = problems(**asked)
    assert words in found


def test_every_problem_is_reported_at_once() -> None:
    found = problems(
        namespace="Team A", subjects=["alice", "Group:"], runner="default", cidrs={"registry": ["nowhere"]}
    )
    assert [line.split(":")[0] for line in found] == [
        "--namespace 'Team A'",
        "--service-account 'default'",
        "--subject 'alice'",
        "--subject 'Group",
        "--registry-cidr 'nowhere'",
        "--model-cidr",
        "--api-cidr",
    ]


@pytest.mark.parametrize("cidr", ["fd00::/8", "fd00::/8:8000", "10.0.0.0/8", "0.0.0.0/0:443"])
def test_networks_are_of_both_kinds_with_or_without_a_port(cidr: str) -> None:
    text = rendered(cidrs={**CIDRS, "model": [cidr]})
    (rule,) = of_kind(text, "NetworkPolicy")["evalhub-benchmark"]["spec"]["egress"]
    network_of, port = {
        "fd00::/8": ("fd00::/8", None),
        "fd00::/8:8000": ("fd00::/8", 8000),
        "10.0.0.0/8": ("10.0.0.0/8", None),
        "0.0.0.0/0:443": ("0.0.0.0/0", 443),
    }[cidr]
    assert rule["to"] == [{"ipBlock": {"cidr": network_of}}]
    assert rule.get("ports") == ([{"protocol": "TCP", "port": port}] if port else None)


ARGUMENTS = [
    *("--namespace", "team-a", "--subject", "User:alice@example.com", "--subject", "Group:evals"),
    *("--subject", "ServiceAccount:ci", "--subject", "ServiceAccount:tekton/runner"),
    *("--api-cidr", "10.0.0.1/32", "--registry-cidr", "192.0.2.7/32:443", "--data-cidr", "198.51.100.0/24:443"),
    *("--model-namespace", "serving:8080", "--mlflow-namespace", "mlflow"),
]


def test_the_command_prints_what_python_gives_the_same_every_time() -> None:
    first, second = (CliRunner().invoke(command, ARGUMENTS, catch_exceptions=False).stdout for _ in range(2))
    assert first == second == rendered(**FULL)


def test_the_command_writes_the_same_bytes_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "team-a.yaml"
    done = CliRunner().invoke(command, [*ARGUMENTS, "--output", str(path)], catch_exceptions=False)
    assert path.read_text() == rendered(**FULL)
    assert "written" in done.output


def test_the_command_writes_no_file_when_something_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    done = CliRunner().invoke(command, ["--namespace", "A", "--subject", "b", "--output", str(path)])
    assert isinstance(done.exception, InvalidDocument)
    assert len(done.exception.problems) == 2
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (["--service-account", "runs"], {"runner": "runs"}),
        (["--store-secret", "store"], {"store_secret": "store"}),
        (["--no-store-secret"], {"store_secret": None}),
        (["--kserve", "models/granite", "--kserve", "models/judge"], {"kserve": ["models/granite", "models/judge"]}),
        (["--kfp-namespace", "kfp", "--model-cidr", "10.1.0.0/16", "--api-cidr", "10.0.0.1/32"], None),
    ],
    ids=["account", "store", "no store", "models on KServe", "kubeflow elsewhere"],
)
def test_options_reach_the_manifests(options: list[str], asked: dict[str, Any] | None) -> None:
    asked = asked or {"kfp_namespace": "kfp", "cidrs": {"model": ["10.1.0.0/16"], "api": ["10.0.0.1/32"]}}
    done = CliRunner().invoke(command, ["--namespace", "team-a", *options], catch_exceptions=False)
    assert done.stdout == rendered(**asked) != rendered()


def test_every_role_says_why_in_lines_that_fit_a_screen() -> None:
    text = rendered(**FULL)
    roles = [part for part in text.split("---\n") if "\nkind: Role\n" in part]
    assert len(roles) == 2
    assert all(part.startswith("# What ") for part in roles)
    assert max(len(line) for line in text.splitlines() if line.startswith("# ")) <= 112
