"""What one conversion does, and the pipeline that runs it."""
