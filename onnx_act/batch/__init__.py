"""Many conversions: jobs, their outcomes, what remembers them, and who carries them out."""
