"""Scores: what each feature is worth, from one pass of mergeable counts."""
