"""Execute the plan: jobs, workers, verdicts, and products that are up to date."""
