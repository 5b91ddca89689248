"""How much is tried: a little in every run, much with `--fuzz=N`."""

import pytest
from hypothesis import HealthCheck, settings

USUAL = 60
"""Cases of each test in the normal run, the same every time."""


def pytest_configure(config):
    times = config.getoption("--fuzz", default=1)
    settings.register_profile(
        "fuzz",
        max_examples=USUAL * times,
        derandomize=times == 1,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("fuzz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all cases of a module: each writes over the one before."""
    return tmp_path_factory.mktemp("fuzz")
