"""The campaign's case of 1,200 mentions."""

from serve_blog import case

CASE = case("/api/mentions.jf2")
