"""An adapter written for EvalHub's SDK, of which only this import was changed (from `evalhub.adapter`)."""

import json
import logging
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from evalhub_components.adapter import (
    ErrorInfo,
    EvaluationResult,
    FrameworkAdapter,
    JobCallbacks,
    JobPhase,
    JobResults,
    JobSpec,
    JobStatus,
    JobStatusUpdate,
    MessageInfo,
    OCIArtifactSpec,
)

logger = logging.getLogger(__name__)


class QuizAdapter(FrameworkAdapter):
    def __init__(self, job_spec_path: str | None = None):
        super().__init__(job_spec_path=job_spec_path)
        self.results_dir: Path | None = None

    def run_benchmark_job(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        began = time.time()
        try:
            callbacks.report_status(
                JobStatusUpdate(
                    status=JobStatus.RUNNING,
                    phase=JobPhase.INITIALIZING,
                    progress=0.0,
                    message=MessageInfo(message=f"Starting {config.benchmark_id}", message_code="initializing"),
                )
            )
            self.results_dir = Path(tempfile.mkdtemp(prefix="quiz_"))
            (self.results_dir / "quiz.json").write_text(json.dumps({"limit": config.num_examples}))
            callbacks.report_status(
                JobStatusUpdate(
                    status=JobStatus.RUNNING,
                    phase=JobPhase.RUNNING_EVALUATION,
                    progress=0.5,
                    message=MessageInfo(message="Half of it", message_code="running"),
                    current_step="second question",
                    total_steps=4,
                    completed_steps=2,
                )
            )
            if config.parameters.get("fail"):
                raise RuntimeError("the quiz master left")
            results = JobResults(
                id=config.id,
                benchmark_id=config.benchmark_id,
                benchmark_index=config.benchmark_index,
                model_name=config.model.name,
                results=[
                    EvaluationResult(
                        metric_name="acc",
                        metric_value=0.75,
                        metric_type="accuracy",
                        confidence_interval=(0.5, 1.0),
                        num_samples=4,
                        metadata={"shots": 0},
                    )
                ],
                overall_score=0.75,
                num_examples_evaluated=4,
                duration_seconds=time.time() - began,
                completed_at=datetime.now(UTC),
                evaluation_metadata={"framework": "quiz", "parameters": config.parameters},
                additional_info={"zero_shot": True},
            )
            assert config.exports is None, "there is no registry to push to while a benchmark runs"
            artifact = callbacks.create_oci_artifact(OCIArtifactSpec(files_path=self.results_dir, coordinates=None))
            logger.info("artifact %s", artifact.reference)
            results.oci_artifact = artifact
            results.mlflow_run_id = callbacks.mlflow.save(results, config)
            callbacks.report_results(results)
            return results
        except Exception as error:
            callbacks.report_status(
                JobStatusUpdate(
                    status=JobStatus.FAILED,
                    message=MessageInfo(message=str(error), message_code="failed"),
                    error=ErrorInfo(message=str(error), message_code="evaluation_error"),
                    error_details={"kind": type(error).__name__},
                )
            )
            raise
