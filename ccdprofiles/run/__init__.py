"""Walk the plan: jobs, workers, verdicts, and what is up to date."""
