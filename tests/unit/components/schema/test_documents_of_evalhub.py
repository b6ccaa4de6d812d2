"""EvalHub's own provider, collection and job files load unchanged."""

from pathlib import Path

import pytest

from evalhub_components.errors import InvalidDocument
from evalhub_components.schema.collection import Collection
from evalhub_components.schema.evaluation import EvaluationConfig
from evalhub_components.schema.provider import EnvVar, Provider
from evalhub_pipelines import bounded_yaml, documents
from evalhub_pipelines.catalog import load_collection

DATA = Path(__file__).parent / "data"


def provider(name: str = "provider.yaml") -> Provider:
    return documents.load(DATA / name, Provider)


def evaluation(name: str) -> EvaluationConfig:
    return documents.load(DATA / name, EvaluationConfig)


def test_a_provider_keeps_how_it_is_run() -> None:
    runtime = provider().runtime
    assert runtime.local is None
    assert runtime.k8s is not None
    assert runtime.k8s.image_pull_policy == "Always"
    assert runtime.k8s.entrypoint == ["/opt/app-root/bin/python", "/opt/app-root/src/main.py"]
    assert runtime.k8s.env == [EnvVar(name="HF_HUB_OFFLINE", value="1"), EnvVar(name="EMPTY", value="")]
    assert runtime.k8s.gpu is not None
    assert runtime.k8s.gpu.node_selector == {"nvidia.com/gpu.product": "NVIDIA-A100"}


@pytest.mark.parametrize("spelling", ["ifNotPresent", "IfNotPresent", "ifnotpresent"])
def test_the_pull_policy_is_read_in_any_case(spelling: str) -> None:
    data = {"id": "p", "runtime": {"k8s": {"image_pull_policy": spelling}}}
    runtime = documents.validate(data, Provider, "p").runtime
    assert runtime.k8s is not None
    assert runtime.k8s.image_pull_policy == "IfNotPresent"


def test_a_provider_may_be_a_local_command() -> None:
    local = provider("provider-local-command.yaml").runtime.local
    assert local is not None
    assert local.command == "true"
    assert local.env == [EnvVar(name="MODE", value="local")]


def test_a_provider_keeps_its_benchmarks() -> None:
    arc, petri, quick = provider().benchmarks
    assert arc.primary_score is not None
    assert (arc.primary_score.metric, arc.primary_score.lower_is_better) == ("acc_norm", False)
    assert arc.primary_score.range is None
    assert arc.pass_criteria is not None
    assert arc.pass_criteria.threshold == 0.25
    assert (arc.domains, arc.tasks, arc.modalities) == (["science"], ["question_answering"], ["text"])
    assert arc.evaluation_targets == ["model"]
    assert petri.id == "inspect/petri-sycophancy"
    assert petri.agent is not None
    assert petri.agent["use_when"] == ["red teaming"]
    assert quick.primary_score is not None
    assert quick.primary_score.lower_is_better is True


def test_a_collection_without_id_takes_the_name_of_its_file() -> None:
    collection = load_collection(DATA / "collection-without-id.yaml")
    assert collection.id == "collection-without-id"
    assert collection.version == "0"


def test_a_collection_keeps_labels_criteria_and_entries() -> None:
    collection = load_collection(DATA / "collection-without-id.yaml")
    assert collection.domains == ["science", "law"]
    assert collection.tasks == ["question_answering"]
    assert collection.modalities == ["text"]
    assert collection.evaluation_targets == ["model"]
    assert collection.curation_order == 3
    assert collection.custom == {"owner": "somebody"}
    assert collection.pass_criteria is not None
    assert collection.pass_criteria.threshold == 0.45
    arc, quick = collection.benchmarks
    assert (arc.id, arc.weight) == ("arc_easy", 2)
    assert (quick.id, quick.weight, quick.parameters) == ("quick", 1.5, {})


def test_plain_values_mean_what_they_mean_to_evalhub() -> None:
    # YAML 1.1 would read the text 1e-3 and the boolean false
    parameters = load_collection(DATA / "collection-without-id.yaml").benchmarks[0].parameters
    assert parameters["temperature"] == 0.001
    assert parameters["languages"] == ["en", "no"]


@pytest.mark.parametrize(("text", "required"), [("yes", True), ("off", False), ("True", True)])
def test_a_switch_may_be_written_in_words(text: str, required: bool) -> None:
    data = bounded_yaml.parse(f"id: c\nbenchmarks: [{{id: b, provider_id: p, required: {text}}}]", "c.yaml")
    assert documents.validate(data, Collection, "c.yaml").benchmarks[0].required is required


def test_a_job_keeps_its_model_and_exports() -> None:
    config = evaluation("eval.yaml")
    assert config.model.auth is not None
    assert config.model.auth.secret_ref == "model-credentials"
    assert config.model.parameters == {"temperature": 0}
    assert config.exports is not None
    assert config.exports.oci is not None
    assert config.exports.oci.coordinates.oci_repository == "team/evaluations"
    assert config.exports.oci.k8s is not None
    assert config.exports.oci.k8s.connection == "registry-credentials"


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("eval.yaml", {"team": "platform", "stage": "release"}),
        ("eval-benchmarks.yaml", {"team": "platform"}),
    ],
    ids=["list", "map"],
)
def test_experiment_tags_may_be_a_list_or_a_map(name: str, tags: dict[str, str]) -> None:
    experiment = evaluation(name).experiment
    assert experiment is not None
    assert experiment.tags == tags


@pytest.mark.parametrize("name", ["eval.yaml", "eval-collection-id.yaml"])
def test_a_collection_may_be_named_in_either_way(name: str) -> None:
    collection = evaluation(name).collection
    assert collection is not None
    assert collection.id == "example-v1"


def test_a_job_may_name_benchmarks_itself() -> None:
    config = evaluation("eval-benchmarks.yaml")
    assert config.collection is None
    (entry,) = config.benchmarks
    assert (entry.id, entry.weight, entry.required, entry.timeout) == ("arc_easy", 0.5, True, 1800)
    assert entry.test_data_ref is not None
    assert entry.test_data_ref.s3 is not None
    assert entry.test_data_ref.s3.bucket == "data"
    assert entry.hardware_config is not None
    assert entry.hardware_config.queue is not None
    assert entry.hardware_config.queue.name == "team-queue"


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ([{"key": "a"}], "must be a map, or a list of {key, value}"),
        ([{"key": ["a"], "value": "b"}], "must be a map, or a list of {key, value}"),
        (["a"], "must be a map, or a list of {key, value}"),
        ([{"key": "a", "value": "b"}, {"key": "a", "value": "c"}], "must name every key once"),
        ("a", "must be a mapping of keys, got 'a'"),
    ],
    ids=["without value", "key is a list", "text", "twice", "one text"],
)
def test_other_experiment_tags_are_refused(tags: object, message: str) -> None:
    data = {"model": {"url": "http://x/v1", "name": "m"}, "collection_id": "c", "experiment": {"tags": tags}}
    with pytest.raises(InvalidDocument) as caught:
        documents.validate(data, EvaluationConfig, "eval.yaml")
    assert str(caught.value) == f"eval.yaml: experiment.tags: {message}"


def test_documents_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        provider().id = "other"
    with pytest.raises(ValueError, match="frozen"):
        load_collection(DATA / "collection-without-id.yaml").benchmarks[0].weight = 0
