"""An Airflow Dag file that raises, from far below and with a cause."""

from airflow.sdk import DAG


def descend(depth):
    if depth == 0:
        raise KeyError("the recipe of <b>bread</b> & 'butter', 100 % \N{SNOWMAN}")
    descend(depth - 1)


with DAG("raises", schedule=None):
    try:
        descend(40)
    except KeyError as error:
        raise RuntimeError("nothing to bake:\n" + "a long line " * 200) from error
