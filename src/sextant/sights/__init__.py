"""What was predicted beside what was seen: records, figures, the one-page answer and the report."""
