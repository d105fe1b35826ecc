"""Devices: what a GPU or processor can do, from a catalogue, the user's own entry, or measured here."""
