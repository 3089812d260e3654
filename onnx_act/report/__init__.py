"""What was found, planned, refused, validated and measured, as one document, and its renderings."""
