"""From a benchmark's id to lm-eval's task objects: where tasks are found, and which data files they read."""

from __future__ import annotations

import copy
import difflib
import glob
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_eval.api.group import Group
from lm_eval.tasks import TaskManager
from lm_eval.tasks._factory import TaskFactory
from lm_eval.tasks._index import Entry, Kind
from lm_eval.tasks._yaml_loader import load_yaml
from lm_eval_parameters import Parameters

from evalhub_components.errors import EvalHubError

SHIPPED = Path(__file__).parent / "tasks"
LOCAL_BUILDERS = frozenset({"json", "csv", "parquet", "arrow", "text", "xml"})
"""Builders of `datasets` whose `data_files` are files of this machine; elsewhere they are files of a hub repository."""


@dataclass(frozen=True)
class LoadedTasks:
    """What a benchmark consists of.

    Attributes:
        root: lm-eval's task or group of the benchmark.
        tasks: the tasks with examples, by name.
        data_digests: `sha256:` digest of every local data file, by the name the task gives it.
    """

    root: Any
    tasks: dict[str, Any]
    data_digests: dict[str, str]

    @property
    def names(self) -> frozenset[str]:
        """Names of the root, the groups in it and the tasks."""
        groups = self.root.get_all_groups() if isinstance(self.root, Group) else []
        return frozenset([_name(self.root), *(group.name for group in groups), *self.tasks])

    @property
    def name(self) -> str:
        """The name under which lm-eval reports the benchmark."""
        return _name(self.root)

    @property
    def only_generates(self) -> bool:
        """Whether all tasks want text, and none wants log-likelihoods."""
        return all(task.get_config("output_type") == "generate_until" for task in self.tasks.values())


class TaskLibrary:
    """Finds and loads tasks; each index of YAML files is made once."""

    def __init__(self) -> None:
        self._managers: dict[str, TaskManager] = {}

    def load(self, benchmark_id: str, parameters: Parameters, test_data: Path | None) -> LoadedTasks:
        """Return the benchmark's tasks with their data.

        Raises:
            EvalHubError: there is no such task, it is a mere tag, or its data or packages are missing.
        """
        folder = _include_folder(benchmark_id, parameters.include_path, test_data)
        spec = parameters.task if parameters.task is not None else benchmark_id
        if isinstance(spec, dict):
            spec = copy.deepcopy({"task": benchmark_id, **spec})  # lm-eval changes what it is given
        manager = self._manager(spec, folder, parameters.metadata)
        files = _DataFiles(benchmark_id, test_data)
        manager._factory = _LocalFactory(parameters.metadata, files)
        if isinstance(spec, str):
            self._check_known(benchmark_id, spec, manager, folder)
        try:
            loaded = manager.load([spec])
        except ImportError as error:
            raise EvalHubError(f"{benchmark_id}: the task needs a package this environment lacks: {error}") from error
        except OSError as error:
            raise EvalHubError(f"{benchmark_id}: its data cannot be loaded: {type(error).__name__}: {error}") from error
        tasks = dict(loaded["tasks"])
        groups = loaded.get("groups") or {}
        name = spec if isinstance(spec, str) else str(spec.get("group") or spec["task"])
        root = groups.get(name) or tasks[name]
        if parameters.repeats is not None:
            for task in tasks.values():
                task.set_config("repeats", parameters.repeats)
        return LoadedTasks(root, tasks, files.digests)

    def _manager(self, spec: str | dict[str, Any], folder: Path | None, metadata: Mapping[str, Any]) -> TaskManager:
        paths = [SHIPPED, *([folder] if folder else [])]
        local = self._indexed(paths, metadata, include_defaults=False)
        if isinstance(spec, dict) or _complete(local.task_index, spec):
            return local
        # Thousands of YAML files: this takes seconds, so only benchmarks that need it pay for it.
        return self._indexed(paths, metadata, include_defaults=True)

    def _indexed(self, paths: list[Path], metadata: Mapping[str, Any], *, include_defaults: bool) -> TaskManager:
        key = json.dumps([[str(path) for path in paths], metadata, include_defaults], sort_keys=True, default=str)
        if key not in self._managers:
            self._managers[key] = TaskManager(
                include_path=paths, include_defaults=include_defaults, metadata=dict(metadata)
            )
        return self._managers[key]

    @staticmethod
    def _check_known(benchmark_id: str, name: str, manager: TaskManager, folder: Path | None) -> None:
        entry = manager.task_index.get(name)
        if entry is None:
            near = difflib.get_close_matches(name, manager.all_tasks, n=3, cutoff=0.8)
            hint = f"did you mean {', '.join(near)}?" if near else "no task has a similar name"
            unreadable = "".join(f"; {problem}" for problem in _unreadable(folder))
            raise EvalHubError(f"{benchmark_id}: lm-eval has no task {name!r} ({hint}{unreadable})")
        if entry.kind is Kind.TAG:
            members = ", ".join(sorted(entry.tags))
            raise EvalHubError(
                f"{benchmark_id}: {name!r} is a tag of several tasks and has no score of its own "
                f"(make an entry of each: {members})"
            )


class _DataFiles:
    """Finds the local data files a task names, and takes their digests."""

    def __init__(self, benchmark_id: str, test_data: Path | None) -> None:
        self.digests: dict[str, str] = {}
        self._benchmark_id = benchmark_id
        self._test_data = test_data

    def localise(self, config: dict[str, Any], folder: Path | None) -> None:
        """Make the relative `data_files` of a task configuration absolute."""
        options = config.get("dataset_kwargs")
        if config.get("dataset_path") not in LOCAL_BUILDERS or not isinstance(options, dict):
            return
        if (data_files := options.get("data_files")) is not None:
            folders = [path for path in (self._test_data, folder) if path is not None]
            config["dataset_kwargs"] = {**options, "data_files": self._resolve(data_files, folders)}

    def _resolve(self, data_files: Any, folders: list[Path]) -> Any:
        if isinstance(data_files, Mapping):
            return {split: self._resolve(names, folders) for split, names in data_files.items()}
        if isinstance(data_files, list):
            return [path for name in data_files for path in self._find(str(name), folders)]
        return self._find(str(data_files), folders)

    def _find(self, pattern: str, folders: list[Path]) -> list[str]:
        if "://" in pattern:
            return [pattern]
        for folder in folders or [Path()]:
            # an absolute pattern stays what it is
            if found := sorted(Path(name) for name in glob.glob(str(folder / pattern), recursive=True)):
                for path in found:
                    name = path.name if Path(pattern).is_absolute() else path.relative_to(folder).as_posix()
                    with path.open("rb") as file:
                        self.digests[name] = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
                return [str(path.resolve()) for path in found]
        where = " or ".join(map(str, folders)) or "any folder (a test_data_ref, or an absolute path)"
        raise EvalHubError(f"{self._benchmark_id}: data file {pattern!r} of its task is not in {where}")


class _LocalFactory(TaskFactory):  # type: ignore[misc]  # lm-eval has no types
    """lm-eval's factory, which would look for relative data files in the working directory."""

    def __init__(self, metadata: Mapping[str, Any], files: _DataFiles) -> None:
        super().__init__(meta=dict(metadata))
        self._files = files

    def _load_full_config(self, entry: Entry, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
        config: dict[str, Any] = super()._load_full_config(entry, overrides)
        folder = entry.yaml_path.parent if entry.yaml_path else None
        members = config.get("task")
        for part in [config, *(members if isinstance(members, list) else [])]:
            if isinstance(part, dict):
                self._files.localise(part, folder)
        return config


def _name(item: Any) -> str:
    return str(item.name if isinstance(item, Group) else item.task_name)


def _include_folder(benchmark_id: str, include_path: str | None, test_data: Path | None) -> Path | None:
    if include_path is None:
        return None
    folder = (test_data or Path()) / include_path
    if not folder.is_absolute():
        raise EvalHubError(
            f"{benchmark_id}: parameters.include_path: {include_path!r} is relative "
            "(write an absolute path, or one inside the data of test_data_ref)"
        )
    if not folder.is_dir():
        raise EvalHubError(f"{benchmark_id}: parameters.include_path: {folder} is not a folder")
    return folder


def _complete(index: Mapping[str, Entry], name: str) -> bool:
    """Return whether the index has a task, and all members when it is a group."""
    entry = index.get(name)
    if entry is None:
        return False
    members = (entry.cfg or {}).get("task") if entry.kind is Kind.GROUP else None
    return all(
        _complete(index, member) if isinstance(member, str) else "dataset_path" in member or "group" in member
        for member in (members if isinstance(members, list) else [])
    )


def _unreadable(folder: Path | None) -> list[str]:
    """Return what is wrong with the YAML files of a folder, which lm-eval skips without a word."""
    problems = []
    for path in sorted(folder.rglob("*.yaml")) if folder else []:
        try:
            load_yaml(path, resolve_func=False)
        except Exception as error:  # whatever the file holds
            problems.append(f"{path.name} was skipped: {' '.join(str(error).split())}")
    return problems
