"""Tasks: one file per stage, the only place of I/O; exactly one file each speaks to MLflow, DVC and Great Expectations."""
