"""How to run any torch module: what a step costs, and which batch, precision, checkpointing and parallelism to run it with."""
