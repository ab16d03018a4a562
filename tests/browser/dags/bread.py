"""Dags that run for a partition, as soon as all that it needs is there."""

from airflow.sdk import DAG, Asset, FixedKeyMapper, PartitionedAssetTimetable, RollupMapper, SegmentWindow, task

flour = Asset("flour", "s3://bakery/flour", group="bakery")
yeast = Asset("yeast", "s3://bakery/yeast", group="bakery")
everywhere = RollupMapper(upstream_mapper=FixedKeyMapper("all"), window=SegmentWindow(["north", "south", "west", "east"]))

with DAG("bread", schedule=PartitionedAssetTimetable(assets=flour & yeast), tags=["bakery"]):

    @task
    def bake(dag_run):
        print(f"bread for the {dag_run.partition_key}")

    bake()

with DAG(
    "harvest",
    schedule=PartitionedAssetTimetable(assets=flour, default_partition_mapper=everywhere),
    tags=["bakery"],
):

    @task
    def celebrate():
        pass

    celebrate()
