"""The campaign's case of the same blog as RSS."""

from serve_blog import case

CASE = case("/feed.xml")
