"""What is learned. Imports schemas, never pyspark."""

import os

# TFRS 0.7.7 needs Keras 2, which tf.keras becomes only if this is set before it is first touched.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
