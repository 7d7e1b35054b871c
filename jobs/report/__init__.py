"""What a person is shown of a root: counts, scores, the terminal's views and the page. Never imports pyspark."""
