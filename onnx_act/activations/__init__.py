"""What activations are: declarations, their readings, and identification. Knows no model."""
