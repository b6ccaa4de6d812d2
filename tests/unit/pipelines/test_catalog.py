"""The catalogue: providers and collections by id, from folders over one another."""

from pathlib import Path

import pytest

from evalhub_components.errors import InvalidDocument
from evalhub_components.schema.collection import Collection
from evalhub_pipelines import documents
from evalhub_pipelines.catalog import Catalog, built_in, load_collection
from evalhub_pipelines.resolution import resolve

ENTRY = "benchmarks: [{id: b, provider_id: p}]\n"


def write(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refused(catalog: Catalog, kind: str, name: str) -> str:
    with pytest.raises(InvalidDocument) as caught:
        getattr(catalog, kind)(name)
    return str(caught.value)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, "collections/release-v1.yaml", ENTRY)
    write(tmp_path, "collections/nightly.yaml", "name: Nightly\n" + ENTRY)
    write(tmp_path, "collections/collection.schema.json", "{}")
    write(tmp_path, "providers/p/provider.yaml", "id: p\nbenchmarks: [{id: b, primary_score: {metric: m}}]\n")
    write(tmp_path, "providers/quality/provider.yaml", "id: quality\n")
    write(tmp_path, "providers/unfinished/adapter.py", "")
    return tmp_path


def test_what_is_shipped_is_found_by_id_and_is_valid() -> None:
    catalog = Catalog.of()
    assert "quickstart-v1" in catalog.collection_ids()
    assert "lm_evaluation_harness" in catalog.provider_ids()
    for collection_id, collection in zip(catalog.collection_ids(), catalog.collections(), strict=True):
        assert collection.id == collection_id
        assert resolve(collection, catalog.providers_of(collection)).tasks
    for provider_id in catalog.provider_ids():
        assert catalog.provider(provider_id).id == provider_id


def test_the_checkout_goes_before_the_wheel() -> None:
    assert (built_in() / "pyproject.toml").is_file()


def test_ids_are_the_names_of_files_and_folders(root: Path) -> None:
    catalog = Catalog((root,))
    assert catalog.collection_ids() == ["nightly", "release-v1"]
    assert catalog.provider_ids() == ["p", "quality"]
    assert catalog.collection("release-v1").id == "release-v1"
    assert catalog.provider_directory("p") == root / "providers" / "p"


def test_a_given_folder_goes_over_the_built_in_ones(root: Path) -> None:
    write(root, "collections/quickstart-v1.yaml", "name: Mine\n" + ENTRY)
    catalog = Catalog.of(root)
    assert catalog.collection("quickstart-v1").name == "Mine"
    assert {"nightly", "leaderboard-v2"} <= set(catalog.collection_ids())
    assert {"p", "lm_evaluation_harness"} <= set(catalog.provider_ids())
    assert catalog.provider_directory("lm_evaluation_harness").is_relative_to(built_in())


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidDocument) as caught:
        Catalog.of(tmp_path / "catalogue")
    assert str(caught.value) == (f"{tmp_path}/catalogue: is no folder (name one that holds collections/ or providers/)")


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("collection", "nightyl", "collection 'nightyl': there is no such collection (did you mean 'nightly'?)"),
        ("collection", "zzz", "collection 'zzz': there is no such collection"),
        ("provider", "qualty", "provider 'qualty': there is no such provider (did you mean 'quality'?)"),
        ("provider_directory", "unfinished", "provider 'unfinished': there is no such provider"),
    ],
)
def test_an_unknown_id_suggests_the_nearest(root: Path, kind: str, name: str, message: str) -> None:
    assert refused(Catalog((root,)), kind, name) == message


@pytest.mark.parametrize("name", ["", ".", "..", "../secret", "x" * 300, "a\0b"])
@pytest.mark.parametrize("kind", ["collection", "provider"])
def test_an_id_is_never_a_path(root: Path, kind: str, name: str) -> None:
    write(root, "secret.yaml", ENTRY)
    write(root, "secret/provider.yaml", "id: secret\n")
    write(root, "provider.yaml", "id: here\n")
    assert "there is no such" in refused(Catalog((root,)), kind, name)


def test_a_provider_has_the_id_of_its_folder(root: Path) -> None:
    path = write(root, "providers/q/provider.yaml", "id: p\n")
    assert refused(Catalog((root,)), "provider", "q") == (f"{path}: id: must be the name of its folder, 'q', got 'p'")


def test_an_id_in_the_file_goes_before_the_name_of_the_file(tmp_path: Path) -> None:
    assert load_collection(write(tmp_path, "a.yaml", "id: b\n" + ENTRY)).id == "b"


def test_the_problems_of_every_provider_are_reported_at_once(root: Path) -> None:
    first = write(root, "providers/one/provider.yaml", "id: one\ntitel: x\n")
    second = write(root, "providers/two/provider.yaml", "id: two\nbenchmarks: 3\n")
    entries = [{"id": "b", "provider_id": name} for name in ("two", "one", "two", "p")]
    collection = documents.validate({"id": "c", "benchmarks": entries}, Collection, "c")
    with pytest.raises(InvalidDocument) as caught:
        Catalog((root,)).providers_of(collection)
    assert str(caught.value).splitlines() == [
        f"{second}: benchmarks: must be a list, got 3",
        f"{first}: titel: unknown key (did you mean 'title'?)",
    ]


def test_an_unknown_provider_of_a_collection_suggests_the_nearest_together_with_other_problems(root: Path) -> None:
    entries = [
        {"id": "b", "provider_id": "qualitty"},
        {"id": "bb", "provider_id": "p"},
        {"id": "b", "provider_id": "?"},
    ]
    collection = documents.validate({"id": "c", "benchmarks": entries}, Collection, "c")
    with pytest.raises(InvalidDocument) as caught:
        resolve(collection, Catalog((root,)).providers_of(collection))
    assert str(caught.value).splitlines() == [
        "collection c: benchmarks[0].provider_id: there is no provider 'qualitty' (did you mean 'quality'?)",
        "collection c: benchmarks[1].id: provider p has no benchmark 'bb' (did you mean 'b'?)",
        "collection c: benchmarks[2].provider_id: there is no provider '?'",
    ]


def test_a_provider_is_found_by_its_alias_and_tasks_say_its_id(root: Path) -> None:
    write(
        root,
        "providers/p/provider.yaml",
        "id: p\naliases: [p-kfp]\nbenchmarks: [{id: b, primary_score: {metric: m}}]\n",
    )
    write(root, "collections/nightly.yaml", "benchmarks: [{id: b, provider_id: p-kfp}, {id: b, provider_id: p}]\n")
    catalog = Catalog((root,))
    assert catalog.provider_directory("p-kfp") == root / "providers" / "p"
    collection = catalog.collection("nightly")
    plan = resolve(collection, catalog.providers_of(collection))
    assert [task.provider_id for task in plan.tasks] == ["p", "p"]
    assert list(plan.header.runtimes) == ["p"]
    assert catalog.provider_ids() == ["p", "quality"]
