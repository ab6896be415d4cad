"""What one SQL database does differently from another, and nothing else."""
