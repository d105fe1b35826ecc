"""ABI, the Attention Balance Instrument: capacity goes where the data pays for it, and every decision can be shown."""
