"""The campaign's case of a JSON Feed in three pages."""

from serve_blog import case

CASE = case("/feed.json")
