"""What most marts come from: the columns they derive theirs from, and the coverage beside them."""

from quality.catalog import columns as c

POST = "dim_post.published_at"
DAY = "fold_relationship_day.date"
SPANS = ("fct_collection_span.from_date", "fct_collection_span.to_date", "fct_collection_span.status")
coverage = c.coverage_share.derived(*SPANS)
