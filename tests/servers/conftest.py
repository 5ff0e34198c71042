"""Starts each real server when the first test asks for it, freshly seeded; only where `--servers` asks for it."""

import pytest
from servers import state

_started: set[str] = set()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> dict:
    """The truth of the server that `@pytest.mark.servers("name")` names, started and seeded once a run.

    `--servers=running` takes servers that run already, as they are.
    """
    marker = request.node.get_closest_marker("servers")
    name = marker.args[0]
    how = request.config.getoption("--servers")
    if how == "fresh" and name not in _started:
        state.STARTS[name]()
        _started.add(name)
    return state.truth(name)
