"""What is learned. Imports schemas, never pyspark."""
