"""X: raw observations to `stg_x__*`, as all networks are staged."""

from assets.staging.observations import Staging

_STAGING = Staging("x")
profiles, posts, interactions = _STAGING.profiles, _STAGING.posts, _STAGING.interactions
counters, readings, quarantine = _STAGING.counters, _STAGING.readings, _STAGING.quarantine
