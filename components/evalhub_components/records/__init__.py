"""What people read of a run: reports, and what MLflow holds."""
