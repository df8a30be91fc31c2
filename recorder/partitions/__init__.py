"""Third room: durable groups become Parquet parts and SQL tables."""
