"""scikit-learn estimators over the core, for tables in memory."""
