"""Values to tables, JSON and YAML; pure."""
