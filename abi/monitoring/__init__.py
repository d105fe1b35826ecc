"""What new data and models are held against: drift, triggers, and the gates before champion."""
