"""From scores to weights on the simplex."""
