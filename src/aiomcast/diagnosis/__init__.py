"""Why nothing arrives: facts that the system tells, and what they come to."""
