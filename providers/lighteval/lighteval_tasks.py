"""The tasks of a benchmark, as LightEval knows them."""

from __future__ import annotations

import difflib
from pathlib import Path

from lighteval.tasks.registry import Registry

from evalhub_components.errors import EvalHubError

_DOWNLOADERS = {"tiny_benchmarks": "tiny", "ifeval": "ifeval", "ifbench": "ifbench"}
"""Modules of tasks that download files when they are imported, with the beginning of their tasks' names."""

_wanted: list[str] = []


def _is_wanted(path: Path) -> bool:
    beginning = _DOWNLOADERS.get(path.stem)
    return beginning is None or any(name.startswith(beginning) for name in _wanted)


_load_files, _load_folders = Registry._load_from_files, Registry._load_from_subdirs
Registry._load_from_files = staticmethod(lambda files, prefix: _load_files(list(filter(_is_wanted, files)), prefix))
Registry._load_from_subdirs = staticmethod(lambda folders: _load_folders(list(filter(_is_wanted, folders))))


class Tasks:
    """The tasks of a benchmark, as LightEval knows them.

    Args:
        names: LightEval's names of tasks or groups.
        shots: examples in the prompt.
        custom: Python file with further tasks.

    Attributes:
        module: what `custom` holds.
        groups: full names of the tasks behind each name.
        configs: of each task, by its full name.
        answers_per_question: of the model, at most.

    Raises:
        EvalHubError: LightEval has no such task, or the file cannot be loaded.
    """

    def __init__(self, names: tuple[str, ...], shots: int, custom: Path | None, multilingual: bool) -> None:
        self.spec = ",".join(f"{name}|{shots}" for name in names)
        self.multilingual = multilingual
        _wanted[:] = names
        try:
            # once: metrics that a file adjusts would be adjusted again
            self.module = Registry.create_custom_tasks_module(custom) if custom else None
            known = Registry.load_all_task_configs(self.module, multilingual)
        except Exception as error:
            # the file is its user's program: whatever it does wrong is worth saying
            raise EvalHubError(f"the tasks cannot be loaded: {type(error).__name__}: {error}") from error
        for name in names:
            if name not in known and not any(task.startswith(f"{name}:") for task in known):
                near = ", ".join(difflib.get_close_matches(name, known, n=3))
                raise EvalHubError(f"LightEval has no task {name!r}" + (f" (did you mean {near}?)" if near else ""))
        registry = Registry(tasks=self.spec, custom_tasks=self.module, load_multilingual=multilingual)
        expanded = {name: registry._expand_task_definition(name) for name in names}
        self.groups = [[f"{task}|{shots}" for task in tasks] for tasks in expanded.values()]
        loaded = registry.load_tasks().values()
        self.configs = {task.full_name: task.config for task in loaded}
        self.answers_per_question = max(count for task in loaded for count in task.num_samples)

    @property
    def need_hub(self) -> bool:
        """Whether data has to be downloaded."""
        return not all(Path(config.hf_repo).is_dir() for config in self.configs.values())
