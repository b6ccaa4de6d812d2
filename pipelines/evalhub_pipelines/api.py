"""The Python interface for notebooks and scripts; the command line is a thin layer over it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalhub_components.errors import EvalHubError, MissingExtra
from evalhub_components.records import outputs
from evalhub_components.records.comparison import run_facts, side_by_side
from evalhub_components.records.comparison.side_by_side import Comparison
from evalhub_components.schema.evaluation import EvaluationConfig
from evalhub_components.schema.plan import EvaluationPlan
from evalhub_components.schema.verdict import Verdict
from evalhub_pipelines import evaluation, judged_run, late_reports, local, result_rows, run_source, settings
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.local import Unpublished as Unpublished
from evalhub_pipelines.processes import Listener
from evalhub_pipelines.verification import verify as verify

if TYPE_CHECKING:
    from evalhub_pipelines.client.connection import Connection


@dataclass(frozen=True)
class Run:
    """A run that was judged.

    Attributes:
        directory: holds everything the run left.
        verdict: the decision.
        warnings: what could not be published.
    """

    directory: Path
    verdict: Verdict
    warnings: list[str]

    def rows(self) -> list[dict[str, Any]]:
        """Return one plain dictionary a benchmark, as `pandas.DataFrame` takes them."""
        return rows(self.verdict)


def rows(verdict: Verdict) -> list[dict[str, Any]]:
    """Return one plain dictionary a benchmark of `verdict`, as `pandas.DataFrame` takes them."""
    found = []
    for test in verdict.benchmarks:
        row = test.as_json()
        low, high = row.pop("range")
        found.append({**row, "range_low": low, "range_high": high})
    return found


def plan(source: str | Path | EvaluationConfig, *, catalog: Path | None = None) -> EvaluationPlan:
    """Return the frozen plan of an eval.yaml, a collection file or a collection's id.

    Args:
        source: path, id, or an `EvaluationConfig`.
        catalog: folder with `collections/` and `providers/` over the built-in ones.

    Raises:
        InvalidDocument: with every problem of the documents.
    """
    return _evaluation(source, Catalog.of(catalog), None).plan


def run(
    source: str | Path | EvaluationConfig | evaluation.Evaluation,
    *,
    model: Mapping[str, Any] | None = None,
    num_examples: int | None = None,
    catalog: Path | None = None,
    output: Path | str = "runs",
    jobs: int | None = None,
    mlflow_uri: str | None = "default",
    engine: str | None = None,
    listener: Listener = lambda _: None,
) -> Run:
    """Run an evaluation on this machine and return its verdict.

    Args:
        source: an eval.yaml, a collection file, a collection's id, or an `EvaluationConfig`.
        model: `{"url": ..., "name": ..., "auth": {"secret_ref": ...}}`, where `source` names no model; or `auth` is
            `{"service_account": True}`.
        num_examples: evaluate at most so many examples a benchmark; fewer than asked for marks the verdict `limited`.
        catalog: folder with `collections/` and `providers/` over the built-in ones.
        output: parent of the run directory.
        jobs: framework processes at once; the number of cores by default.
        mlflow_uri: tracking server; None for no tracking. By default `$MLFLOW_TRACKING_URI`, else the SQLite file
            `mlflow.db` beside `output`.
        engine: `docker`, `podman` or the path of one, to run benchmarks in their images; None for processes.
        listener: called with progress events.

    Raises:
        EvalHubError: nothing could be judged: bad documents, no model, no environment.
        Cancelled: interrupted with Ctrl-C; `resume` goes on.
    """
    where = Catalog.of(catalog)
    found = source if isinstance(source, evaluation.Evaluation) else _evaluation(source, where, model)
    config = evaluation.need_config(found)
    if num_examples is not None and num_examples < 1:
        raise EvalHubError(f"num_examples: must be at least 1, got {num_examples}")
    finished = local.run(
        found.plan,
        config.model,
        where,
        _options(
            output,
            jobs,
            mlflow_uri,
            engine,
            listener,
            required=bool(config.experiment and config.experiment.required),
        ),
        name=config.name,
        tags=config.tags,
        num_examples=num_examples or config.num_examples,
        experiment=config.experiment,
        exports=config.exports,
        judge=config.judge,
    )
    return Run(finished.directory, finished.verdict, finished.warnings)


def resume(
    directory: Path | str,
    *,
    accept_fingerprint: bool = False,
    catalog: Path | None = None,
    jobs: int | None = None,
    mlflow_uri: str | None = "default",
    engine: str | None = None,
    listener: Listener = lambda _: None,
) -> Run:
    """Go on with an interrupted run: only what has no completed result runs again.

    Args:
        directory: the run directory.
        accept_fingerprint: go on although another model answers than before.
        catalog: by default the one that the run began with.
        jobs: as for `run`.
        mlflow_uri: tracking server; None for no tracking. By default as the run began.
        engine: command of Docker or Podman. By default as the run began.
        listener: as for `run`.

    Raises:
        EvalHubError: no run, in use, or another model answers.
        Cancelled: interrupted again.
    """
    folder = Path(directory)
    parent = folder.resolve().parent
    begun = settings.read(folder) or settings.Settings(mlflow_uri="default")
    options = _options(
        parent,
        jobs,
        begun.mlflow_uri if mlflow_uri == "default" else mlflow_uri,
        engine or begun.engine,
        listener,
        required=begun.mlflow_required,
        accept_fingerprint=accept_fingerprint,
    )
    where = Catalog.of(catalog or (Path(begun.catalog) if begun.catalog else None))
    finished = local.resume(folder, where, options)
    return Run(finished.directory, finished.verdict, finished.warnings)


def judge(
    directory: Path | str, *, config: str | Path | EvaluationConfig | None = None, catalog: Path | None = None
) -> Verdict:
    """Return the verdict of a run again, under its own criteria or those of `config`; nothing is written.

    Args:
        directory: the run directory.
        config: an eval.yaml, a collection file or a collection's id with other criteria.
        catalog: as for `run`.

    Raises:
        EvalHubError: no run, or bad documents.
    """
    other = plan(config, catalog=catalog) if config is not None else None
    return judged_run.judged(Path(directory), other).verdict


def report(
    run: Path | str,
    reports: Mapping[str, Path | str] | None = None,
    *,
    mlflow_uri: str | None = None,
    registry_secret: str | None = None,
    ca: Path | None = None,
) -> late_reports.Reported:
    """Write the reports of a finished run again, and send it to MLflow when that waits for it.

    Args:
        run: a run directory, a folder of pulled files, a layout, or a reference to a registry.
        reports: paths by kind (html, markdown, junit, json, tekton); by default report.md and report.html of a run
            directory.
        mlflow_uri: tracking server that what waits is sent to; by default the one that it waits for.
        registry_secret: as for `verify`.
        ca: as for `verify`.

    Raises:
        Tampered: something in the evidence is not what its digest says.
        EvalHubError: no run, a verdict that its results do not give, nowhere to write, or the server in `mlflow_uri`
            did not take the run.
    """
    wanted = outputs.parse(f"{kind}={path}" for kind, path in (reports or {}).items())
    with run_source.opened(run, registry_secret=registry_secret, ca=ca) as source:
        return late_reports.report(source, wanted, mlflow_uri=mlflow_uri)


def compare(*runs: Path | str, registry_secret: str | None = None, ca: Path | None = None) -> Comparison:
    """Return finished runs side by side, each compared with the first.

    Args:
        runs: as `report` takes one.
        registry_secret: as for `verify`.
        ca: as for `verify`.

    Raises:
        Tampered: something in the evidence is not what its digest says.
        EvalHubError: no runs, or one with a verdict that its results do not give.
    """
    if not runs:
        raise EvalHubError("compare: there is nothing to compare (name runs)")
    facts = []
    for name in runs:
        with run_source.opened(name, registry_secret=registry_secret, ca=ca) as source:
            facts.append(run_facts.facts_of(source.name, source.run, source.verdict))
    return side_by_side.compare(facts)


def results(
    run: Path | str,
    *,
    connection: Connection | None = None,
    evidence: str | None = None,
    mlflow_uri: str | None = None,
    registry_secret: str | None = None,
    ca: Path | None = None,
) -> result_rows.Results:
    """Return the results of a run under the keys that EvalHub has; `.benchmarks` are plain dictionaries.

    Args:
        run: as `report` takes one, or the id of a run of Kubeflow Pipelines, whose evidence is read.
        connection: to Kubeflow Pipelines, for such an id; by default what the environment and the user's profiles say.
        evidence: `host/repository` of that evidence as seen from here; by default where the run was told to push it.
        mlflow_uri: MLflow as seen from here, asked which run of it records evidence; by default MLFLOW_TRACKING_URI.
        registry_secret: as for `verify`.
        ca: as for `verify`.

    Raises:
        Tampered: something in the evidence is not what its digest says.
        EvalHubError: there is no such run, it is not over, or its results cannot be read.
    """

    def connect() -> Connection:
        from evalhub_pipelines.client.connection import resolve

        return connection or resolve()

    return result_rows.read(
        run, connect, evidence=evidence, tracking_uri=mlflow_uri, registry_secret=registry_secret, ca=ca
    )


def compile(
    source: str | Path | EvaluationConfig, *, catalog: Path | None = None, images: Mapping[str, str] | None = None
) -> str:
    """Return the Kubeflow pipeline of an eval.yaml, a collection file or a collection's id, as YAML.

    Args:
        source: as for `plan`.
        catalog: as for `run`.
        images: references by provider id, and by `components`, in place of the catalogue's.

    Raises:
        EvalHubError: bad documents, an image that may change, or a pipeline that no cluster could take.
        MissingExtra: kfp is not installed.
    """
    try:
        from evalhub_pipelines import compiled_files
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("kfp"):
            raise
        raise MissingExtra("kfp", "compiling pipelines") from None
    return compiled_files.pipeline_of(_evaluation(source, Catalog.of(catalog), None), images or {})


def default_mlflow_uri(output: Path | str) -> str:
    """Return where a run logs when nobody says: `$MLFLOW_TRACKING_URI`, else `mlflow.db` beside `output`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(output).resolve().parent / 'mlflow.db'}"


def _evaluation(
    source: str | Path | EvaluationConfig, catalog: Catalog, model: Mapping[str, Any] | None
) -> evaluation.Evaluation:
    if isinstance(source, EvaluationConfig):
        return evaluation.of_config(source, catalog)
    return evaluation.of(source, catalog, model=model)


def _options(
    output: Path | str,
    jobs: int | None,
    mlflow_uri: str | None,
    engine: str | None,
    listener: Listener,
    *,
    required: bool = False,
    accept_fingerprint: bool = False,
) -> local.Options:
    return local.Options(
        output=Path(output),
        jobs=jobs,
        mlflow_uri=default_mlflow_uri(output) if mlflow_uri == "default" else mlflow_uri,
        mlflow_required=required,
        accept_fingerprint=accept_fingerprint,
        engine=engine,
        listener=listener,
    )
