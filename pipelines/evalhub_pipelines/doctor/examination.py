"""Which checks are made: those of this machine, of Kubeflow, and of whatever an evaluation names."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from evalhub_components.errors import EvalHubError, InvalidDocument
from evalhub_pipelines.doctor import asked as questions
from evalhub_pipelines.doctor import checks, wanted_secrets
from evalhub_pipelines.doctor.asked import SCOPES, Asked, Scope
from evalhub_pipelines.doctor.checks import Check
from evalhub_pipelines.doctor.finding import Finding
from evalhub_pipelines.manifests.tenant import RUNNER, STORE_SECRET

if TYPE_CHECKING:
    from evalhub_components.schema.evaluation import EvaluationConfig
    from evalhub_pipelines.evaluation import Evaluation

TIMEOUT = 30.0


def check(
    source: str | Path | EvaluationConfig | None = None,
    *,
    only: Collection[Scope] = (),
    endpoint: str | None = None,
    namespace: str | None = None,
    profile: str | None = None,
    mlflow_uri: str | None = None,
    mlflow_secret: str | None = None,
    ca_config_map: str | None = None,
    service_account: str = RUNNER,
    store_secret: str | None = STORE_SECRET,
    engine: str | None = None,
    catalog: Path | None = None,
    timeout: float = TIMEOUT,
) -> list[Finding]:
    """Return what was found, in a fixed order; nothing is raised for what does not hold.

    Args:
        source: an eval.yaml, a collection file, a collection's id, or an `EvaluationConfig`: all it names is looked at.
        only: `laptop`, `cluster` or both; by default the laptop, and the cluster where one is configured.
        endpoint: of Kubeflow Pipelines, by default as for every command that talks to it.
        namespace: where runs happen.
        profile: of `evalhub-kfp config`.
        mlflow_uri: tracking server; by default `$MLFLOW_TRACKING_URI`.
        mlflow_secret: secret with MLflow's credentials.
        ca_config_map: config map with CA certificates.
        service_account: the account that runs use.
        store_secret: the object store's secret, the only one that runs may read through the API; None for none.
        engine: command of Docker or Podman; by default the one that is there.
        catalog: folder with `collections/` and `providers/` over the built-in ones.
        timeout: seconds each check has; all are made at once.

    Raises:
        EvalHubError: `only` or `timeout` make no sense.
    """
    from evalhub_pipelines.catalog import Catalog
    from evalhub_pipelines.doctor import services

    if unknown := sorted(set(only) - set(SCOPES)):
        raise EvalHubError(f"only: must be {' or '.join(SCOPES)}, got {unknown[0]!r}")
    if not timeout > 0:
        raise EvalHubError(f"timeout: must be more than 0, got {timeout:g}")
    where = Catalog.of(catalog)
    findings: list[Finding] = []
    found: Evaluation | None = None
    if source is not None:
        try:
            found = questions.evaluation_of(source, where)
            findings.append(Finding("evaluation", "ok", f"{found.collection.id}, {len(found.plan.tasks)} benchmarks"))
        except InvalidDocument as error:
            findings += [Finding("evaluation", "failed", str(problem)) for problem in error.problems]
        except EvalHubError as error:
            findings.append(Finding("evaluation", "failed", str(error)))
    asked = Asked(
        scopes=frozenset(only) or questions.configured(endpoint, profile),
        catalog=where,
        found=found,
        kfp=questions.connection_of(endpoint, namespace, profile, timeout),
        namespace=namespace,
        mlflow_uri=services.mlflow_uri(mlflow_uri),
        mlflow_secret=mlflow_secret,
        ca_config_map=ca_config_map,
        service_account=service_account,
        store_secret=store_secret,
        engine=engine,
        time=timeout,
    )
    wanted = [*_of_laptop(asked), *_of_cluster(asked, is_chosen=bool(only)), *_of_services(asked)]
    return findings + checks.made(wanted, timeout)


def _of_laptop(asked: Asked) -> Iterator[Check]:
    from evalhub_pipelines.doctor import laptop

    if "laptop" not in asked.scopes:
        yield _skipped("laptop", "not asked for (--only laptop)")
        return
    providers = sorted(asked.found.plan.header.runtimes) if asked.found else asked.catalog.provider_ids()
    yield from laptop.checks(asked.catalog, providers, asked.needed_extras(), asked.engine, asked.timeout)
    for wanted in wanted_secrets.of(asked.found, asked.mlflow_secret):
        name = f"secret {wanted.name} here"
        yield Check([name], partial(laptop.secret, wanted, name))


def _of_cluster(asked: Asked, is_chosen: bool) -> Iterator[Check]:
    from evalhub_pipelines.doctor import laptop, namespace

    if "cluster" not in asked.scopes:
        cure = "--only cluster" if is_chosen else "no Kubeflow is configured: --endpoint, or evalhub-kfp config set"
        yield _skipped("cluster", f"not asked for ({cure})")
        return
    if "laptop" not in asked.scopes:
        yield Check(["extra kfp"], partial(laptop.extra, "kfp", True))
    yield from namespace.checks(asked)


def _of_services(asked: Asked) -> Iterator[Check]:
    from evalhub_pipelines.doctor.services import Caller

    caller, config = Caller("cluster" in asked.scopes, asked.timeout), asked.config
    oci = config.exports.oci if config and config.exports else None
    if config:
        yield Check(["model"], partial(caller.model, config.model, "model"))
    else:
        yield _skipped("model", "no eval.yaml names one (--config)")
    if config and config.judge:
        yield Check(["judge"], partial(caller.model, config.judge, "judge"))
    elif (
        judged := [task.benchmark_id for task in asked.found.plan.tasks if task.judge] if asked.found and config else []
    ):
        cure = "name one: judge: {url, name} in eval.yaml"
        yield _found(Finding("judge", "failed", f"a model judges the answers of {', '.join(judged)} ({cure})"))
    if oci:
        yield Check(["registry"], partial(caller.registry, oci, "registry"))
    else:
        yield _skipped("registry", "no eval.yaml names one (--config; exports.oci in it)")
    if asked.mlflow_uri:
        yield Check(["mlflow"], partial(caller.mlflow, asked.mlflow_uri, asked.mlflow_secret, "mlflow"))
    else:
        yield _skipped("mlflow", "no server is named (--mlflow-uri, or MLFLOW_TRACKING_URI)")


def _skipped(name: str, why: str) -> Check:
    return _found(Finding(name, "skipped", why))


def _found(finding: Finding) -> Check:
    """Return a check of which everything is known before it begins."""
    return Check([finding.check], lambda: iter([finding]))
