"""What garak is told: its configuration file and its environment."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from garak_benchmarks import Selection
from garak_parameters import Parameters

from evalhub_components.adapter import JobSpec
from evalhub_components.framework import surroundings

PREFIX = "garak"
KEY_VARIABLE = "OPENAICOMPATIBLE_API_KEY"


def configuration(config: JobSpec, parameters: Parameters, selection: Selection) -> dict[str, Any]:
    """Return garak's settings; `parameters.garak_config` fills what nothing here decides."""
    own: dict[str, Any] = {str(section): keys for section, keys in parameters.garak_config.items()}
    cap = config.num_examples or parameters.prompt_cap or selection.prompt_cap
    # the benchmark's judges are for the benchmark's probes
    own_detectors = () if parameters.probes or parameters.tags else selection.detectors
    generator: dict[str, Any] = {
        "seed": config.seed,
        # else an answer without `choices` is asked for again without end
        "retry_json": False,
        "extra_params": parameters.extra_params,
        **_given(parameters, "temperature", "top_p", "max_tokens", "stop", "skip_seq_start", "skip_seq_end"),
    }
    settings: dict[str, Any] = {
        "system": {"parallel_attempts": parameters.num_concurrent, "lite": True},
        "run": {
            "seed": config.seed,
            "generations": parameters.generations or selection.generations,
            "eval_threshold": parameters.eval_threshold,
            "soft_probe_prompt_cap": cap,
            "spec": _spec(parameters, selection, own),
            **_given(parameters, "system_prompt"),
        },
        "plugins": {
            "target_type": "openai.OpenAICompatible",
            "target_name": config.model.name,
            "extended_detectors": parameters.extended_detectors,
            "detector_spec": ",".join(parameters.detectors or own_detectors or ["auto"]),
            "generators": {"openai": {"OpenAICompatible": generator}},
        },
    }
    if own_detectors and not parameters.detectors and selection.refusals:
        judge = {"upstrings": list(selection.refusals), "matchtype": "startswith"}
        settings["plugins"]["detectors"] = {"shields": {"Up": judge}}
    asked = parameters.model_fields_set
    if "num_concurrent" not in asked:
        _yield_to(own, settings, "system", "parallel_attempts")
    for name in ("generations", "eval_threshold"):
        if name not in asked:
            _yield_to(own, settings, "run", name)
    if not config.num_examples and parameters.prompt_cap is None:
        _yield_to(own, settings, "run", "soft_probe_prompt_cap")
    for name, parameter in (("detector_spec", "detectors"), ("extended_detectors", "extended_detectors")):
        if parameter not in asked:
            _yield_to(own, settings, "plugins", name)
    merged = _merged(own, settings)
    merged["plugins"].pop("probe_spec", None)
    return merged


def write(settings: Mapping[str, Any], uri: str, folder: Path) -> Path:
    """Return garak's configuration file, which also says what differs from run to run: where it asks and writes.

    Args:
        uri: ends in `/v1`; with a slash behind it garak's look whether anybody is there would go on to the model.
        folder: for the configuration and what garak reports.
    """
    folder.mkdir(parents=True, exist_ok=True)
    where = {
        "plugins": {"generators": {"openai": {"OpenAICompatible": {"uri": uri}}}},
        "reporting": {"report_dir": str(folder), "report_prefix": PREFIX},
    }
    file = folder / "garak.yaml"
    file.write_text(yaml.safe_dump(_merged(settings, where), sort_keys=False), encoding="utf-8")
    return file


def environment(config: JobSpec, selection: Selection, key: str) -> dict[str, str]:
    """Return the environment of garak's process: the key, and folders of its own for what it writes."""
    own = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONUNBUFFERED": "1"}
    variables = surroundings.variables(config.work_dir, own=own, hub=selection.hub)
    variables |= {f"XDG_{kind}_HOME": str(config.work_dir / kind.lower()) for kind in ("DATA", "CACHE", "CONFIG")}
    if config.credentials.hf_token:
        variables["HF_TOKEN"] = config.credentials.hf_token
    # some probes keep their prompts in sets, and draw from them
    return {**variables, "PYTHONHASHSEED": "0", KEY_VARIABLE: key}


def _spec(parameters: Parameters, selection: Selection, own: Mapping[str, Any]) -> dict[str, Any]:
    asked = parameters.probes or parameters.tags
    if not asked and (spec := own.get("run", {}).get("spec")):
        return dict(spec)
    probes: Iterable[str] = (parameters.probes or []) if asked else selection.probes
    tags: Iterable[str] = (parameters.tags or []) if asked else selection.tags
    if not asked and (named := own.get("plugins", {}).get("probe_spec")):
        probes, tags = str(named).split(","), ()
    return {
        "include": [*map(_probe, probes), *(f"tag:{tag}" for tag in tags)],
        "exclude": [_probe(name) for name in parameters.exclude],
    }


def _probe(name: str) -> str:
    return f"probes.{name.strip().removeprefix('probes.')}"


def _given(parameters: Parameters, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(parameters, name)) is not None}


def _yield_to(own: Mapping[str, Any], settings: dict[str, Any], section: str, name: str) -> None:
    if name in own.get(section, {}):
        del settings[section][name]


def _merged(below: Mapping[Any, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = copy.deepcopy(dict(below))
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict) and key != "spec"
        merged[key] = _merged(merged[key], value) if both else value
    return merged
