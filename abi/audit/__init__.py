"""The ledger of decisions: entries, their chain and signatures, checkpoints; replay, explanation, comparison."""
