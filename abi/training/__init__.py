"""The loop over a model family."""
