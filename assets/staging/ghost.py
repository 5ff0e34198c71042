"""Ghost: raw observations to `stg_ghost__*`, as all networks are staged."""

from assets.staging.observations import Staging

_STAGING = Staging("ghost", is_site=True)
profiles, posts, interactions = _STAGING.profiles, _STAGING.posts, _STAGING.interactions
counters, readings, quarantine = _STAGING.counters, _STAGING.readings, _STAGING.quarantine
