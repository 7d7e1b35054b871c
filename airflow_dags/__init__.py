"""When it runs. Imports airflow, the standard library and itself only."""
