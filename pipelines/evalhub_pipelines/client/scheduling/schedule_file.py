"""Schedule files: which evaluation runs when, as YAML: one schedule, or a list of them."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from evalhub_components.errors import InvalidDocument, Problem
from evalhub_components.schema.document import Document, Positive, SecretName, matching
from evalhub_components.schema.evaluation import JudgeConfig, ModelConfig
from evalhub_components.schema.exports import Exports
from evalhub_pipelines import bounded_yaml, documents, evaluation
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.client.scheduling import cron, time_zones
from evalhub_pipelines.client.submitting.inputs import ServiceAccountName
from evalhub_pipelines.evaluation import Evaluation


def _as_text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError(f"must be a date and time such as 2026-01-31T02:00:00, got {value!r}")
    return value


Moment = Annotated[datetime.datetime, BeforeValidator(_as_text), WithJsonSchema({"type": "string"})]
"""A date and time; without an offset it is in the schedule's time zone."""


class MLflowServer(Document):
    """The tracking server that runs are recorded in, and the secret with its `token`, or `username` and `password`."""

    uri: str
    secret_ref: SecretName | None = None


class Schedule(Document):
    """One schedule.

    Attributes:
        cron: five fields (minute first), or six with the second first; names such as MON-FRI, and @daily.
        time_zone: the zone that cron is read in; it must be the one of the installation, UTC where nobody set another.
        evaluation: path of an eval.yaml, from the schedule file's folder, or a collection's id.
        enabled: false keeps it paused.
        start, end: the first and last moment at which runs are started.
        experiment: of Kubeflow Pipelines, that its runs are listed in.
        service_account: that the pods of its runs have.
        model, judge, num_examples, exports: go before those of the evaluation.
    """

    name: Annotated[
        str,
        Field(max_length=63),
        matching(r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?\Z", "a name of lower-case letters, digits, '-' and '.'"),
    ]
    cron: Annotated[str, AfterValidator(lambda text: cron.parse(text).text)]
    time_zone: str
    evaluation: str = Field(min_length=1)
    enabled: bool = True
    start: Moment | None = None
    end: Moment | None = None
    experiment: str | None = Field(default=None, min_length=1, max_length=128)
    service_account: ServiceAccountName | None = None
    model: ModelConfig | None = None
    judge: JudgeConfig | None = None
    num_examples: Positive | None = None
    exports: Exports | None = None
    mlflow: MLflowServer | None = None
    ca_config_map: str | None = None

    @field_validator("time_zone")
    @classmethod
    def _known(cls, value: str) -> str:
        time_zones.find(value)
        return value

    @field_validator("start", "end")
    @classmethod
    def _in_its_zone(cls, value: datetime.datetime | None, info: ValidationInfo) -> datetime.datetime | None:
        if value is None or "time_zone" not in info.data:
            return value
        moment = value if value.tzinfo else value.replace(tzinfo=time_zones.find(info.data["time_zone"]))
        return moment.astimezone(datetime.UTC)

    @field_validator("end")
    @classmethod
    def _after_the_start(cls, value: datetime.datetime | None, info: ValidationInfo) -> datetime.datetime | None:
        # without a time zone they may not be comparable
        if value and "time_zone" in info.data and info.data.get("start") and value <= info.data["start"]:
            raise ValueError("must be after start")
        return value


def read(path: Path, *, environ: Mapping[str, str] | None = None) -> dict[str, Schedule]:
    """Return the schedules of a file, by their places in it.

    Args:
        environ: for `${VAR}`; the process's environment by default.

    Raises:
        InvalidDocument: with every problem of every schedule.
    """
    data = bounded_yaml.substitute(bounded_yaml.read(path), os.environ if environ is None else environ, str(path))
    entries = (
        {f"{path}: [{number}]": entry for number, entry in enumerate(data)}
        if isinstance(data, list)
        else {str(path): data}
    )
    found: dict[str, Schedule] = {}
    problems: list[Problem] = []
    for where, entry in entries.items():
        try:
            found[where] = documents.validate(entry, Schedule, where)
        except InvalidDocument as error:
            problems += error.problems
    names = [schedule.name for schedule in found.values()]
    problems += [
        Problem(f"{where}: name", f"must be unique, got {schedule.name} again")
        for number, (where, schedule) in enumerate(found.items())
        if schedule.name in names[:number]
    ]
    if not entries:
        problems.append(Problem(str(path), "must be a schedule, or a list of schedules"))
    if problems:
        raise InvalidDocument(problems)
    return found


def evaluation_of(schedule: Schedule, folder: Path, catalog: Catalog, environ: Mapping[str, str] | None) -> Evaluation:
    """Return what a schedule evaluates; nothing of it is ever taken from a cache.

    Args:
        folder: that a path is looked up from.
        environ: for `${VAR}` in an eval.yaml.

    Raises:
        InvalidDocument: with every problem of it.
    """
    path = folder / schedule.evaluation
    named = path if path.suffix in (".yaml", ".yml") or path.is_file() else schedule.evaluation
    changes: dict[str, Any] = {"execution": {"cache": False}}
    for key in ("judge", "num_examples", "exports"):
        value = getattr(schedule, key)
        if value is not None:
            changes[key] = value.model_dump(exclude_unset=True) if isinstance(value, Document) else value
    model = schedule.model.model_dump(exclude_unset=True) if schedule.model else None
    found = evaluation.of(named, catalog, model=model, environ=environ, changes=changes)
    if found.config is None:
        raise InvalidDocument([Problem("model", f"is missing: {schedule.evaluation} is a collection and names none")])
    return found
