"""Model families: a plan's capacity becomes a model that fits, predicts and saves."""
