"""The measures: pure functions, `as_of` always an argument, frames in and out."""
