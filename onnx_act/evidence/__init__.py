"""Numbers about models: equivalence, drift and latency, each found by running them."""
