"""Mastodon and servers that speak its API: raw observations to `stg_mastodon__*`, as all networks are staged."""

from assets.staging.observations import Staging

_STAGING = Staging("mastodon")
profiles, posts, interactions = _STAGING.profiles, _STAGING.posts, _STAGING.interactions
counters, readings, quarantine = _STAGING.counters, _STAGING.readings, _STAGING.quarantine
