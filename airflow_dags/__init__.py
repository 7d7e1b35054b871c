"""When it runs. Imports airflow and the standard library only."""
