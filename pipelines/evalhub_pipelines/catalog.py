"""The catalogue: the providers and collections that can be named by id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from evalhub_components.errors import InvalidDocument, Problem
from evalhub_components.schema.collection import Collection
from evalhub_components.schema.provider import Provider
from evalhub_pipelines import documents


def built_in() -> Path:
    """Return the folder with this distribution's `collections` and `providers`: the checkout's, else the wheel's."""
    package = Path(__file__).resolve().parent
    checkout = package.parent.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "collections").is_dir():
        return checkout
    return package / "_catalog"


@dataclass(frozen=True)
class Catalog:
    """Providers and collections by id; a folder given earlier hides later ones."""

    roots: tuple[Path, ...]

    @classmethod
    def of(cls, directory: Path | None = None) -> Catalog:
        """Return the built-in catalogue, with `directory` (holding `collections/`, `providers/`) over it."""
        return cls((directory, built_in()) if directory else (built_in(),))

    def collection_ids(self) -> list[str]:
        """Return the ids of all collections, sorted."""
        return sorted({path.stem for root in self.roots for path in (root / "collections").glob("*.yaml")})

    def provider_ids(self) -> list[str]:
        """Return the ids of all providers, sorted."""
        return sorted(
            {path.parent.name for root in self.roots for path in (root / "providers").glob("*/provider.yaml")}
        )

    def collection(self, collection_id: str) -> Collection:
        """Return a collection.

        Raises:
            InvalidDocument: there is none with this id, or its file has problems.
        """
        for root in self.roots:
            path = root / "collections" / f"{collection_id}.yaml"
            if path.parent == root / "collections" and path.is_file():
                return load_collection(path)
        hint = documents.near(collection_id, self.collection_ids())
        raise InvalidDocument([Problem(f"collection {collection_id!r}", f"there is no such collection{hint}")])

    def provider_directory(self, provider_id: str) -> Path:
        """Return the folder of a provider: `provider.yaml`, `adapter.py`, `requirements.txt`.

        Raises:
            InvalidDocument: there is none with this id.
        """
        for root in self.roots:
            folder = root / "providers" / provider_id
            if folder.parent == root / "providers" and (folder / "provider.yaml").is_file():
                return folder
        hint = documents.near(provider_id, self.provider_ids())
        raise InvalidDocument([Problem(f"provider {provider_id!r}", f"there is no such provider{hint}")])

    def provider(self, provider_id: str) -> Provider:
        """Return a provider.

        Raises:
            InvalidDocument: there is none with this id, or its file has problems.
        """
        path = self.provider_directory(provider_id) / "provider.yaml"
        provider = documents.load(path, Provider)
        if provider.id != provider_id:
            what = f"must be the name of its folder, {provider_id!r}, got {provider.id!r}"
            raise InvalidDocument([Problem(f"{path}: id", what)])
        return provider

    def providers_of(self, collection: Collection) -> Mapping[str, Provider]:
        """Return the providers that a collection names, by id; one it names in vain is left to `plan.resolve`.

        Raises:
            InvalidDocument: with the problems of every provider file.
        """
        found: dict[str, Provider] = {}
        problems: list[Problem] = []
        for provider_id in dict.fromkeys(entry.provider_id for entry in collection.benchmarks):
            if provider_id in self.provider_ids():
                try:
                    found[provider_id] = self.provider(provider_id)
                except InvalidDocument as error:
                    problems += error.problems
        if problems:
            raise InvalidDocument(problems)
        return found

    def collections(self) -> Iterator[Collection]:
        """Yield every collection, in the order of ids."""
        for collection_id in self.collection_ids():
            yield self.collection(collection_id)


def load_collection(path: Path) -> Collection:
    """Return the collection in `path`; without an `id` it takes the file's stem.

    Raises:
        InvalidDocument: with every problem of the file.
    """
    return documents.load(path, Collection, defaults={"id": path.stem})
