"""What a rule file says: its text, its patterns and expressions, its rules as written."""
