"""Adaptive learning: a stream in row order, predict then learn, drift, and what is adapted on it."""
