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
        """Return the built-in catalogue, with `directory` (holding `collections/`, `providers/`) over it.

        Raises:
            InvalidDocument: `directory` is no folder.
        """
        if directory is None:
            return cls((built_in(),))
        if not directory.is_dir():
            what = "is no folder (name one that holds collections/ or providers/)"
            raise InvalidDocument([Problem(str(directory), what)])
        return cls((directory, built_in()))

    def collection_ids(self) -> list[str]:
        """Return the ids of all collections, sorted."""
        return sorted(self._collection_files())

    def provider_ids(self) -> list[str]:
        """Return the ids of all providers, sorted."""
        return sorted(self._provider_folders())

    def collection(self, collection_id: str) -> Collection:
        """Return a collection.

        Raises:
            InvalidDocument: there is none with this id, or its file has problems.
        """
        path = self.collection_file(collection_id)
        collection = load_collection(path)
        if collection.id != collection_id:
            what = f"must be the name of its file, {collection_id!r}, got {collection.id!r}"
            raise InvalidDocument([Problem(f"{path}: id", what)])
        return collection

    def collection_file(self, collection_id: str) -> Path:
        """Return the file of a collection.

        Raises:
            InvalidDocument: there is none with this id.
        """
        files = self._collection_files()
        if collection_id in files:
            return files[collection_id]
        hint = documents.near(collection_id, files)
        raise InvalidDocument([Problem(f"collection {collection_id!r}", f"there is no such collection{hint}")])

    def provider_directory(self, provider_id: str) -> Path:
        """Return the folder of a provider, by id or alias: `provider.yaml`, `adapter.py`, `requirements.txt`.

        Raises:
            InvalidDocument: there is none with this id.
        """
        found = self._folder_of(provider_id)
        if found is None:
            hint = documents.near(provider_id, self.provider_ids())
            raise InvalidDocument([Problem(f"provider {provider_id!r}", f"there is no such provider{hint}")])
        return found

    def _folder_of(self, provider_id: str) -> Path | None:
        folders = self._provider_folders()
        if provider_id in folders:
            return folders[provider_id]
        for folder in folders.values():
            # most files do not mention the name at all, and need not be read as YAML
            path = folder / "provider.yaml"
            if provider_id in path.read_text("utf-8") and provider_id in documents.load(path, Provider).aliases:
                return folder
        return None

    def _collection_files(self) -> dict[str, Path]:
        return {path.stem: path for root in reversed(self.roots) for path in (root / "collections").glob("*.yaml")}

    def _provider_folders(self) -> dict[str, Path]:
        files = (path for root in reversed(self.roots) for path in (root / "providers").glob("*/provider.yaml"))
        return {path.parent.name: path.parent for path in files}

    def provider(self, provider_id: str) -> Provider:
        """Return a provider, by id or alias.

        Raises:
            InvalidDocument: there is none with this id, or its file has problems.
        """
        path = self.provider_directory(provider_id) / "provider.yaml"
        provider = documents.load(path, Provider)
        if provider.id != path.parent.name:
            what = f"must be the name of its folder, {path.parent.name!r}, got {provider.id!r}"
            raise InvalidDocument([Problem(f"{path}: id", what)])
        return provider

    def providers_of(self, collection: Collection) -> Mapping[str, Provider]:
        """Return the providers that a collection names, by the id or alias that it names them by.

        For one that it names in vain the nearest is there instead, so that resolution can suggest it.

        Raises:
            InvalidDocument: with the problems of every provider file.
        """
        found: dict[str, Provider] = {}
        problems: list[Problem] = []
        known = self.provider_ids()
        for name in dict.fromkeys(entry.provider_id for entry in collection.benchmarks):
            try:
                wanted = name if self._folder_of(name) else documents.nearest(name, known)
                if wanted is not None:
                    found[wanted] = self.provider(wanted)
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
