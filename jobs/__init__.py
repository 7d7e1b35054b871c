"""What runs: `ls jobs/*.py` is the list of jobs, each a task of the daily DAG and a script of its own."""
