"""The API of Kubeflow Pipelines 2.17 in this process, without a cluster: state in memory, and failures to order.

Requests are read as strictly as the real server reads them, by the models of `kfp_server_api`; answers have its JSON.
Nothing runs by itself: a test moves runs and schedules on with `advance` and `fire`.
"""

from __future__ import annotations

import base64
import datetime
import json
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import kfp_models
import yaml
from kfp_workflow import FINISHED, NEVER, Record, Workflow
from stub_http import Behaviour, Refusal, StubApi, StubRequest, answers, served

ROOT = "/apis/v2beta1"
COLUMN = 255
"""Characters of a run's name and description: columns of MySQL (client_manager.go, DefaultStringSize)."""

CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 429: 8, 500: 13, 503: 14}
"""The status of gRPC for each of HTTP."""


@dataclass
class KfpApi(StubApi):
    """Holds what clients made.

    Attributes:
        prefix: what comes before `/apis`, such as `/pipeline` behind Kubeflow's gateway; other paths are a 404 page.
        multi_user: namespaces are needed and enforced.
        users: the namespaces of each bearer token; without users and sessions everybody may do everything.
        sessions: the namespaces of each `Cookie` header.
        dashboard: `healthz` answers as the dashboard's own server does, which adds versions.
        invalid: what was wrong with request bodies; a test that sends only right ones asserts that this is empty.
    """

    prefix: str = ""
    multi_user: bool = False
    users: dict[str, set[str]] = field(default_factory=dict)
    sessions: dict[str, set[str]] = field(default_factory=dict)
    dashboard: bool = False
    invalid: list[str] = field(default_factory=list)
    experiments: dict[str, Record] = field(default_factory=dict)
    pipelines: dict[str, Record] = field(default_factory=dict)
    versions: dict[str, Record] = field(default_factory=dict)
    runs: dict[str, Record] = field(default_factory=dict)
    recurring_runs: dict[str, Record] = field(default_factory=dict)
    namespaces: dict[str, str] = field(default_factory=dict)
    made: int = 0

    def __post_init__(self) -> None:
        if not self.multi_user:
            self.add(self.experiments, "experiment_id", {"display_name": "Default", "storage_state": "AVAILABLE"}, "")

    @property
    def endpoint(self) -> str:
        return f"{self.address}{self.prefix}"

    def now(self) -> str:
        """A moment at least a second later than those before: records are in the order of their making."""
        self.made += 1
        start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        return kfp_models.timestamp(start + datetime.timedelta(seconds=self.made))

    def add(self, records: dict[str, Record], key: str, record: Record, namespace: str) -> Record:
        record = {key: str(uuid.uuid4()), **record, "created_at": self.now()}
        if namespace and key != "run_id":
            record["namespace"] = namespace
        records[record[key]] = record
        self.namespaces[record[key]] = namespace
        return record

    def advance(
        self,
        run_id: str,
        state: str,
        tasks: Mapping[str, str] | None = None,
        error: str = "",
        pods: bool = True,
        failed_attempts: Mapping[str, int] | None = None,
    ) -> None:
        """Move a run on, and its tasks, as the persistence agent reports the nodes of its Argo workflow.

        Args:
            tasks: state of each task by its name in the pipeline, with those of its groups before it where it is not
                the only one (`benchmarks-0.collect`); `OMITTED` never started. The others keep theirs.
            error: why the run failed; the real server hardly ever says.
            pods: whether the tasks have started as far as their executors.
            failed_attempts: how often each task was tried in vain so far.
        """
        assert not kfp_models.problems(state, "V2beta1RuntimeState", "state")
        with self.lock:
            run, now = self.runs[run_id], self.now()
            if run["state"] == "CANCELING" != state:
                # in between the agent reported that Argo was still ending pods
                run["state_history"].append({"update_time": now, "state": "CANCELING"})
            run["state"] = state
            run["state_history"].append({"update_time": now, "state": state})
            run["finished_at"] = now if state in FINISHED else NEVER
            run.pop("error", None)
            if error:
                run["error"] = {"code": 2, "message": error}
            workflow = Workflow(run, self._spec_of(run), now)
            for name, task_state in (tasks or {}).items():
                workflow.move(name, task_state, pods, (failed_attempts or {}).get(name, 0))
            workflow.end(state)

    def _spec_of(self, run: Record) -> Record:
        """The pipeline of a run."""
        reference = run.get("pipeline_version_reference")
        version = self.versions.get(reference["pipeline_version_id"]) if reference else run
        spec: Record = (version or {}).get("pipeline_spec", {})
        return spec

    def fire(self, recurring_run_id: str, at: datetime.datetime) -> str | None:
        """Start the run that a schedule is due for; returns its id, None when the schedule is paused."""
        with self.lock:
            schedule = self.recurring_runs[recurring_run_id]
            if schedule["status"] != "ENABLED":
                return None
            config = json.loads(json.dumps(schedule.get("runtime_config", {})))
            for name, value in config.get("parameters", {}).items():
                if isinstance(value, str):
                    moment = at.astimezone(datetime.UTC).strftime("%Y%m%d%H%M%S")
                    config["parameters"][name] = value.replace("[[ScheduledTime]]", moment)
            kept = ("experiment_id", "pipeline_version_reference", "pipeline_spec", "service_account")
            run = {key: schedule[key] for key in kept if key in schedule}
            run |= {"display_name": f"{schedule['display_name']} {self.made}", "runtime_config": config}
            made = self._start(run, self.namespaces[recurring_run_id])
            made |= {"recurring_run_id": recurring_run_id, "scheduled_at": kfp_models.timestamp(at)}
            return str(made["run_id"])

    # what the handler calls, each with the lock held

    def healthz(self) -> Record:
        answer: Record = {"multi_user": self.multi_user, "pipeline_store": "database"}
        if self.dashboard:
            answer |= {"apiServerMultiUser": self.multi_user, "apiServerTagName": "2.17.0", "apiServerReady": True}
        return answer

    def allow(self, allowed: set[str] | None, namespace: str, verb: str, resource: str) -> None:
        if self.multi_user and allowed is not None and namespace not in allowed:
            attributes = f"&ResourceAttributes{{Namespace:{namespace},Verb:{verb},Resource:{resource},}}"
            raise Refusal(
                403, f"PermissionDenied: User 'tester' is not authorized with reason: (request: {attributes})"
            )

    def create_experiment(self, body: Record, namespace: str) -> Record:
        if not body.get("display_name"):
            raise Refusal(400, "Invalid input error: Experiment's display name cannot be empty")
        for other in self.experiments.values():
            if (other["display_name"], self.namespaces[other["experiment_id"]]) == (body["display_name"], namespace):
                raise Refusal(409, f"Already exist error: Experiment {body['display_name']} already exists")
        return self.add(self.experiments, "experiment_id", {**body, "storage_state": "AVAILABLE"}, namespace)

    def create_pipeline(self, body: Record, namespace: str) -> Record:
        name = body.get("name") or body.get("display_name")
        for other in self.pipelines.values():
            if (other["name"], self.namespaces[other["pipeline_id"]]) == (name, namespace):
                raise Refusal(409, f"Already exist error: Pipeline with name {name} already exists")
        record = {**body, "name": name, "display_name": body.get("display_name") or name}
        return self.add(self.pipelines, "pipeline_id", record, namespace)

    def create_version(self, pipeline_id: str, body: Record) -> Record:
        find(self.pipelines, pipeline_id, "Pipeline")
        name = body.get("name") or body.get("display_name")
        for other in self.versions.values():
            if (other["pipeline_id"], other["name"]) == (pipeline_id, name):
                raise Refusal(409, f"Already exist error: PipelineVersion {name} already exists")
        record = {**body, "pipeline_id": pipeline_id, "name": name}
        record["display_name"] = body.get("display_name") or name
        return self.add(self.versions, "pipeline_version_id", record, self.namespaces[pipeline_id])

    def create_run(self, body: Record, namespace: str) -> Record:
        if not body.get("display_name"):
            raise Refusal(400, "Invalid input error: The run name is empty. Please specify a valid name")
        return self._start(body, namespace)

    def _start(self, body: Record, namespace: str) -> Record:
        body = self._with_version(body)
        # the real one has started the workflow by then
        _check_columns(body, "run")
        now = self.now()
        run = {
            **body,
            "storage_state": "AVAILABLE",
            "scheduled_at": now,
            "finished_at": NEVER,
            "state": "PENDING",
            "state_history": [{"update_time": now, "state": "PENDING"}],
            "run_details": {"task_details": []},
            "service_account": body.get("service_account", "pipeline-runner"),
        }
        run.setdefault("experiment_id", next(iter(self.experiments)))
        return self.add(self.runs, "run_id", run, namespace)

    def _with_version(self, body: Record) -> Record:
        """The body of a run or schedule with its version pinned and its parameters checked against the pipeline's."""
        reference = body.get("pipeline_version_reference")
        if bool(reference) == bool(body.get("pipeline_spec")):
            raise Refusal(400, "Invalid input error: give either a pipeline version reference or a pipeline spec")
        if reference:
            pipeline_id = str(reference.get("pipeline_id"))
            find(self.pipelines, pipeline_id, "Pipeline")
            versions = [record for record in self.versions.values() if record["pipeline_id"] == pipeline_id]
            version_id = reference.get("pipeline_version_id") or versions[-1]["pipeline_version_id"]
            version = find(self.versions, version_id, "PipelineVersion")
            body = {**body, "pipeline_version_reference": {**reference, "pipeline_version_id": version_id}}
            spec = version["pipeline_spec"]
        else:
            spec = body["pipeline_spec"]
        _check_parameters(spec.get("pipeline_spec", spec), body.get("runtime_config", {}).get("parameters", {}))
        return body

    def create_recurring_run(self, body: Record, namespace: str) -> Record:
        _check_columns(body, "job")
        trigger = body.get("trigger", {})
        if len(trigger) != 1:
            raise Refusal(400, "Invalid input error: a recurring run needs one trigger")
        cron = trigger.get("cron_schedule", {}).get("cron")
        # the real server takes five fields too, and reads the first of them as seconds
        if cron is not None and len(cron.split()) not in (5, 6):
            raise Refusal(400, f"Invalid input error: Schedule cron is not a supported format: {cron}")
        if not 1 <= int(body.get("max_concurrency", 0)) <= 10:
            raise Refusal(400, "Invalid input error: The max concurrency is not between 1 and 10")
        if body.get("mode") not in ("ENABLE", "DISABLE"):
            raise Refusal(400, "Invalid input error: The mode of a recurring run is invalid")
        body = self._with_version(body)
        record = {
            **body,
            "max_concurrency": str(body["max_concurrency"]),
            "status": f"{body['mode']}D",
            "updated_at": self.now(),
        }
        return self.add(self.recurring_runs, "recurring_run_id", record, namespace)

    def act_on_run(self, run: Record, verb: str) -> None:
        if verb == "terminate":
            if run["state"] not in ("PENDING", "RUNNING", "PAUSED", "RUNTIME_STATE_UNSPECIFIED"):
                raise Refusal(400, f"Invalid input error: Failed to terminate a run {run['run_id']}. Row not found")
            run["state"] = "CANCELING"
        elif verb == "retry":
            if run["state"] not in ("FAILED", "CANCELED") or run["storage_state"] == "ARCHIVED":
                raise Refusal(400, "Bad request: Workflow must be Failed/Error to retry")
            self.advance(run["run_id"], "RUNNING")
            for node in run["run_details"]["task_details"]:
                if node.get("state") == "FAILED":
                    node |= {"state": "PENDING", "end_time": NEVER}
        else:
            run["storage_state"] = {"archive": "ARCHIVED", "unarchive": "AVAILABLE"}[verb]


def find(records: Mapping[str, Record], key: str, kind: str) -> Record:
    if key not in records:
        raise Refusal(404, f"ResourceNotFoundError: {kind} {key} not found")
    return records[key]


_KINDS: dict[str, tuple[type, ...]] = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}


def _check_columns(body: Record, kind: str) -> None:
    """Refuse what MySQL does, whose connection speaks a UTF-8 of at most three bytes a character."""
    for key, column in {"display_name": "DisplayName", "description": "Description"}.items():
        text, why = body.get(key, ""), ""
        if len(text) > COLUMN:
            why = f"Error 1406 (22001): Data too long for column '{column}' at row 1"
        elif any(character > "\uffff" for character in text):
            why = f"Error 1366 (HY000): Incorrect string value: '...' for column '{column}' at row 1"
        if why:
            raise Refusal(500, f"InternalServerError: Failed to store {kind} to table: {why}")


def _check_parameters(spec: Record, given: Mapping[str, Any]) -> None:
    inputs = spec.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
    for name, value in given.items():
        if name not in inputs:
            raise Refusal(400, f"Invalid input error: unknown input parameter: {name}")
        kinds = _KINDS[inputs[name]["parameterType"]]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise Refusal(400, f"Invalid input error: input parameter {name} requires type {kinds[0].__name__}")
    for name, definition in inputs.items():
        if name not in given and "defaultValue" not in definition and not definition.get("isOptional"):
            raise Refusal(400, f"Invalid input error: parameter {name} is not optional, yet has no value")


def kfp_api(
    certificate_and_key: tuple[Path, Path] | None = None, port: int = 0, api: KfpApi | None = None, **options: Any
) -> AbstractContextManager[KfpApi]:
    """A server inside the block, with TLS when it has a certificate; a restarted one is given `api` and `port`."""
    return served(api or KfpApi(**options), Request, certificate_and_key, port)


def refuses(status: int, message: str = "ordered by the test", **headers: str) -> Behaviour:
    """Answer an error as the API does, such as `refuses(429, Retry_After="1")`."""
    return answers(status, json.dumps(error(status, message)), Content_Type="application/json", **headers)


def error(status: int, message: str) -> Record:
    code = CODES.get(status, 2)
    detail = {"@type": "type.googleapis.com/google.rpc.Status", "code": code, "message": message}
    return {"error": message, "code": code, "message": message, "details": [detail]}


_COMMON = {"display_name", "name", "created_at", "description", "id"}
_FIELDS = {
    "pipelines": _COMMON | {"pipeline_id", "namespace"},
    "versions": _COMMON | {"pipeline_version_id", "pipeline_id"},
    "experiments": _COMMON | {"experiment_id", "namespace", "storage_state", "last_run_created_at"},
    "runs": _COMMON
    | {"run_id", "namespace", "experiment_id", "state", "storage_state", "recurring_run_id", "pipeline_id"}
    | {"finished_at", "scheduled_at", "status"},
    "recurringruns": _COMMON
    | {"recurring_run_id", "namespace", "experiment_id", "updated_at", "max_concurrency", "no_catchup", "status"},
}
"""What the real server filters and sorts by; tags, owners and parameters are not among them."""


class Request(StubRequest):
    """One request."""

    api: KfpApi

    def serve(self) -> None:
        """Answer as always."""
        root = self.api.prefix + ROOT
        if not self.route.startswith(root + "/"):
            page = f"<!DOCTYPE html>\n<html><body><pre>Cannot {self.command} {self.route}</pre></body></html>"
            self.answer(404, page.encode(), {"Content-Type": "text/html; charset=utf-8"})
            return
        try:
            with self.api.lock:
                found = _public(self._found(self.route.removeprefix(root + "/")))
            self.say(200, found)
        except Refusal as refusal:
            self.say(refusal.status, error(refusal.status, str(refusal)))

    def _identity(self) -> set[str] | None:
        """The namespaces of whoever asks; None where everybody may do everything."""
        if not (self.api.users or self.api.sessions):
            return None
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme == "Bearer" and token in self.api.users:
            return self.api.users[token]
        if self.headers.get("Cookie") in self.api.sessions:
            return self.api.sessions[self.headers["Cookie"]]
        raise Refusal(
            401, "Unauthenticated: Request header error: there is no user identity header.: Failed to authorize"
        )

    def _found(self, route: str) -> Any:
        api, allowed = self.api, self._identity()
        kind, _, rest = route.partition("/")
        key, _, verb = rest.partition(":")
        if (self.command, route) == ("GET", "healthz"):
            return api.healthz()
        if (self.command, rest) in (("POST", "upload"), ("POST", "upload_version")) and kind == "pipelines":
            return self._upload(rest, allowed)
        if kind == "pipelines" and "/versions" in rest:
            return self._version(*rest.split("/", 2)[::2], allowed=allowed)
        if kind == "pipelines" and rest.startswith("names/"):
            for record in api.pipelines.values():
                if (record["name"], api.namespaces[record["pipeline_id"]]) == (rest[6:], self._namespace()):
                    return record
            raise Refusal(404, f"ResourceNotFoundError: Pipeline {rest[6:]} not found")
        model, records, create = {
            "pipelines": ("V2beta1Pipeline", api.pipelines, api.create_pipeline),
            "experiments": ("V2beta1Experiment", api.experiments, api.create_experiment),
            "runs": ("V2beta1Run", api.runs, api.create_run),
            "recurringruns": ("V2beta1RecurringRun", api.recurring_runs, api.create_recurring_run),
        }.get(kind, (None, None, None))
        if model is None:
            raise Refusal(404, "Not Found")
        assert records is not None
        assert create is not None
        if not rest:
            if self.command == "GET":
                return self._list(kind, records, allowed)
            if self.command == "POST":
                body = self._checked(model)
                namespace = self._namespace_of(kind, body)
                api.allow(allowed, namespace, "create", kind)
                return create({name: value for name, value in body.items() if name != "namespace"}, namespace)
        record = find(records, key, model.removeprefix("V2beta1"))
        namespace = api.namespaces[key]
        if not (kind == "pipelines" and not namespace):  # shared pipelines are everybody's to read
            verbs = {"GET": "get", "DELETE": "delete", "POST": verb, "PATCH": "update"}
            api.allow(allowed, namespace, verbs[self.command], kind)
        if self.command == "GET" and not verb:
            return record
        if self.command == "DELETE" and not verb:
            return self._delete(kind, records, key)
        if self.command == "POST" and kind == "runs" and verb in ("terminate", "retry", "archive", "unarchive"):
            api.act_on_run(record, verb)
            return {}
        if self.command == "POST" and kind == "experiments" and verb in ("archive", "unarchive"):
            record["storage_state"] = {"archive": "ARCHIVED", "unarchive": "AVAILABLE"}[verb]
            return {}
        if self.command == "POST" and kind == "recurringruns" and verb in ("enable", "disable"):
            record |= {"mode": verb.upper(), "status": f"{verb.upper()}D", "updated_at": api.now()}
            return {}
        raise Refusal(404, "Not Found")

    def _delete(self, kind: str, records: dict[str, Record], key: str) -> Record:
        if kind == "pipelines":
            owned = [name for name, record in self.api.versions.items() if record["pipeline_id"] == key]
            if owned and self.query.get("cascade") != "true":
                raise Refusal(400, "Invalid input error: Failed to delete pipeline as it still has versions")
            for name in owned:
                del self.api.versions[name]
        del records[key]
        return {}

    def _checked(self, model: str) -> Record:
        found = kfp_models.problems(self.body, model)
        if found:
            self.api.invalid += found
            raise Refusal(400, f"proto: (line 1:1): {'; '.join(found)}")
        return {name: value for name, value in self.body.items() if value is not None}

    def _namespace(self) -> str:
        return self.query.get("namespace", "") if self.api.multi_user else ""

    def _namespace_of(self, kind: str, body: Record) -> str:
        if not self.api.multi_user:
            return ""
        if kind in ("runs", "recurringruns"):
            if not body.get("experiment_id"):
                raise Refusal(400, "Invalid input error: an experiment is needed in multi-user mode")
            find(self.api.experiments, body["experiment_id"], "Experiment")
            return self.api.namespaces[body["experiment_id"]]
        if kind == "experiments" and not body.get("namespace"):
            raise Refusal(400, "Invalid input error: Namespace is empty")
        return str(body.get("namespace", ""))

    def _list(self, kind: str, records: Mapping[str, Record], allowed: set[str] | None) -> Record:
        experiment = self.query.get("experiment_id", "")
        namespace = self.api.namespaces.get(experiment, "") if experiment else self._namespace()
        if self.api.multi_user and kind != "pipelines" and not namespace:
            raise Refusal(400, "Invalid input error: Namespace cannot be empty in multi-user mode")
        if namespace:
            self.api.allow(allowed, namespace, "list", kind)
        chosen = [
            record
            for key, record in records.items()
            if self.api.namespaces[key] == namespace and (not experiment or record.get("experiment_id") == experiment)
        ]
        return self._page(kind, chosen, {"recurringruns": "recurringRuns"}.get(kind, kind))

    def _page(self, kind: str, chosen: list[Record], name: str) -> Record:
        """One page in the order that was asked for; its token holds where it ends and what it belongs to."""
        sort_by, filtered = self.query.get("sort_by", ""), self.query.get("filter", "")
        after = None
        if self.query.get("page_token"):
            try:
                after, *asked = json.loads(base64.urlsafe_b64decode(self.query["page_token"]))
            except ValueError:
                raise Refusal(400, "Invalid input error: Invalid package token.") from None
            if asked != [sort_by, filtered]:
                raise Refusal(400, "Invalid input error: the page token does not match the sort or the filter")
        if filtered:
            document = json.loads(filtered)
            if found := kfp_models.filter_problems(document, _FIELDS[kind]):
                self.api.invalid += found
                raise Refusal(400, f"Invalid input error: {'; '.join(found)}")
            chosen = [record for record in chosen if kfp_models.matches(record, document)]
        key, _, direction = (sort_by or "created_at").partition(" ")
        if key not in _FIELDS[kind] or direction not in ("", "asc", "desc"):
            raise Refusal(400, f"Invalid input error: Invalid sorting field: {sort_by!r}")
        chosen = sorted(chosen, key=lambda record: (str(record.get(key, "")), _id(record)), reverse=direction == "desc")
        start = 0
        if after is not None:
            start = next((i + 1 for i, record in enumerate(chosen) if _id(record) == after), len(chosen))
        size = int(self.query.get("page_size") or 20) or 20
        if not 0 < size <= 200:
            raise Refusal(400, "Invalid input error: The page size should be between 1 and 200")
        page = chosen[start : start + size]
        answer: Record = {name: page, "total_size": len(chosen)} if page else {}
        if start + size < len(chosen):
            token = json.dumps([_id(page[-1]), sort_by, filtered]).encode()
            answer["next_page_token"] = base64.urlsafe_b64encode(token).decode()
        return answer

    def _version(self, pipeline_id: str, version_id: str = "", *, allowed: set[str] | None) -> Any:
        find(self.api.pipelines, pipeline_id, "Pipeline")
        namespace = self.api.namespaces[pipeline_id]
        if namespace or self.command != "GET":
            self.api.allow(allowed, namespace, self.command.lower(), "pipelines")
        if version_id:
            record = find(self.api.versions, version_id, "PipelineVersion")
            if self.command == "DELETE":
                del self.api.versions[version_id]
                return {}
            return record
        if self.command == "POST":
            return self.api.create_version(pipeline_id, self._checked("V2beta1PipelineVersion"))
        owned = [record for record in self.api.versions.values() if record["pipeline_id"] == pipeline_id]
        return self._page("versions", owned, "pipeline_versions")

    def _upload(self, what: str, allowed: set[str] | None) -> Record:
        header = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = BytesParser().parsebytes(header + self.content)
        files = [part for part in parts.walk() if part.get_param("name", header="content-disposition") == "uploadfile"]
        if len(files) != 1:
            raise Refusal(400, "Failed to read pipeline from file")
        spec = _pipeline_spec(files[0].get_payload(decode=True))
        tags = json.loads(self.query["tags"]) if self.query.get("tags") else None
        found = kfp_models.problems(tags, "dict(str, str)", "tags") if tags is not None else []
        if found:
            self.api.invalid += found
            raise Refusal(400, "Failed to parse tags query parameter")
        body = {name: self.query[name] for name in ("display_name", "description") if self.query.get(name)}
        body["name"] = self.query.get("name") or self.query.get("display_name") or str(files[0].get_filename())
        body |= {"tags": tags} if tags else {}
        if what == "upload_version":
            pipeline_id = self.query.get("pipelineid", "")
            if pipeline_id not in self.api.pipelines:
                raise Refusal(400, "Failed to create a pipeline version")  # the real one says no more either
            self._may_upload(allowed, self.api.namespaces[pipeline_id])
            return self.api.create_version(pipeline_id, {**body, "pipeline_spec": spec})
        self._may_upload(allowed, self._namespace())
        pipeline = self.api.create_pipeline(body, self._namespace())
        first = {**body, "pipeline_spec": spec}
        first.pop("tags", None)
        self.api.create_version(pipeline["pipeline_id"], first)
        return pipeline

    def _may_upload(self, allowed: set[str] | None, namespace: str) -> None:
        if self.api.multi_user and allowed is not None and namespace not in allowed:
            permission = f"permission to create pipelines.pipelines.kubeflow.org in namespace {namespace!r} is required"
            raise Refusal(400, f"pipeline upload denied: {permission}")  # 400 as the real one, not 403


def _id(record: Record) -> str:
    # the first key of every record is its own id
    return str(next(iter(record.values())))


def _public(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _public(item) for key, item in value.items() if not key.startswith("_")}
    return [_public(item) for item in value] if isinstance(value, list) else value


def _pipeline_spec(content: bytes) -> Record:
    try:
        documents = [document for document in yaml.safe_load_all(content) if document]
    except yaml.YAMLError:
        documents = []
    if not documents or "pipelineInfo" not in documents[0] or len(documents) > 2:
        raise Refusal(400, "Failed to read a pipeline spec file: unknown template format")
    spec: Record = documents[0]
    return {"pipeline_spec": spec, "platform_spec": documents[1]} if len(documents) == 2 else spec
