"""What the demo model says as a judge: it recognises how the frameworks ask for a judgement, and judges as one who
knows the answers to the questions of `questions`, without mistakes whatever its skill.
"""

from evalhub_pipelines.demo_model.judging import clear, deepeval, ragas

_FRAMEWORKS = (clear.judgement, deepeval.judgement, ragas.judgement)


def judgement(prompt: str) -> str | None:
    """Returns the answer to a request for a judgement, None when a prompt asks for none."""
    return next((said for judge in _FRAMEWORKS if (said := judge(prompt)) is not None), None)
