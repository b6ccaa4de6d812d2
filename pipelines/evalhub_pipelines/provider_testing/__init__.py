"""What a provider's tests need: its benchmarks run as in a pipeline, servers that fail, its catalogue checked.

from evalhub_pipelines.demo_model import DemoModelSettings, running
from evalhub_pipelines.provider_testing import Trial

def test_the_score_follows_the_skill(tmp_path):
    with running(DemoModelSettings(skill=0.5)) as server:
        outcome = Trial(PROVIDER, tmp_path).run("my_benchmark", server.base_url)
    assert outcome.score == 0.5
"""

from evalhub_pipelines.provider_testing.catalogue import check_catalogue, defaults_of, entries_of
from evalhub_pipelines.provider_testing.servers import NOWHERE, hanging, unable
from evalhub_pipelines.provider_testing.trial import Outcome, Trial

__all__ = ["NOWHERE", "Outcome", "Trial", "check_catalogue", "defaults_of", "entries_of", "hanging", "unable"]
