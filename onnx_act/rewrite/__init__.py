"""Rules that propose changes, and the engine that applies them."""
