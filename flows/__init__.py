"""Flows: the order of stages, and the command line on top."""
