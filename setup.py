from setuptools import find_packages, setup

spark = ["pyspark==4.2.0", "delta-spark==4.4.0", "numpy==2.4.6", "pandas==2.3.3"]
# Spark Connect's client, which shares pyspark's folder, and the engine that it talks to. The engine is young: an
# upgrade is a run of tests/engines.
sail = ["pysail==0.7.2", "pyspark-client==4.2.0", "numpy==2.4.6", "pandas==2.3.3"]
train = [
    "tensorflow==2.21.0",
    "tf-keras==2.21.0",
    "tensorflow-recommenders==0.7.7",
    "tensorboard==2.21.0",
    "faiss-cpu==1.15.1",
    "numpy==2.4.6",
]
# The provider depends on pyspark-client, which shares pyspark's folder: one version of both or neither works.
airflow = [
    "apache-airflow==3.3.2",
    "apache-airflow-providers-apache-spark==6.3.4",
    "pyspark==4.2.0",
    "pyspark-client==4.2.0",
]
report = [
    "duckdb==2.0.0",
    "jinja2==3.1.6",
    "rich==15.0.0",
    "textual==8.2.8",
    "scikit-learn==1.9.1",
    "numpy==2.4.6",
]
test = ["polars==2.1.0", "pytest==9.2.0", "pytest-xdist==3.8.0", "hypothesis==6.170.15", "ruff==0.17.6"]

setup(
    name="headrace",
    version="0.1.0",
    description="Labels, samples and models for a recommender's retrieval and pre-ranking stages",
    license="Apache-2.0",
    python_requires=">=3.11,<3.13",
    package_data={"jobs.report.page": ["*.html", "*.css"]},
    packages=find_packages(include=["schemas*", "models*", "jobs*", "airflow_dags*"]),
    install_requires=["pyarrow==26.0.1", "deltalake==1.6.6"],
    entry_points={"console_scripts": ["headrace = jobs.command.headrace:main"]},
    extras_require={
        "spark": spark,
        "sail": sail,
        "train": train,
        "airflow": airflow,
        "report": report,
        "test": test,
    },
)
