"""From attention and an envelope to an allocation plan."""
