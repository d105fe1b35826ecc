"""Tables: read the raw file once, infer the schema, split, encode."""
