"""What a line talks to: results as they come, a watched folder, receivers of verdicts, a server."""
