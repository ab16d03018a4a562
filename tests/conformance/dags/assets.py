"""Dags that assets start: conditions, references, aliases, several producers, and what pausing and limits do to them.

The scenarios report the events, through the REST API or by a producer's run. Every consumer answers with what it was
told about the events that its run consumed.
"""

from __future__ import annotations

import time

import pendulum

from airflow.sdk import DAG, Asset, AssetAlias, AssetOrTimeSchedule, CronTriggerTimetable, Metadata, task

START = pendulum.datetime(2026, 1, 1, tz="UTC")


def asset(name: str) -> Asset:
    return Asset(name, uri=f"conformance://assets/{name}")


def consumer(dag_id: str, schedule, *, seconds: int = 0, outlets: tuple[Asset, ...] = (), **settings) -> None:
    with DAG(dag_id, schedule=schedule, start_date=START, **settings):

        @task(outlets=list(outlets))
        def consume(*, triggering_asset_events):
            time.sleep(seconds)
            return sorted(
                [key.name, event.source_dag_id, event.source_map_index, sorted(event.extra.items())]
                for key, events in triggering_asset_events.items()
                for event in events
            )

        consume()


def producer(dag_id: str, outlet) -> None:
    with DAG(dag_id, schedule=None, start_date=START):

        @task(outlets=[outlet])
        def produce(*, dag_run):
            yield Metadata(outlet, dag_run.conf)

        produce()


consumer("asset_and", [asset("and_a"), asset("and_b")])
consumer("asset_or", asset("or_a") | asset("or_b"))
nested = {name: asset(f"nested_{name}") for name in "abcde"}
consumer("asset_nested", (nested["a"] & nested["b"]) | (nested["c"] & (nested["d"] | nested["e"])))
consumer("asset_of_any_in_list", [asset("listed_a") | asset("listed_b"), asset("listed_c")])
consumer("asset_paused", [asset("paused_a")])
consumer("asset_paused_while_waiting", [asset("waiting_a"), asset("waiting_b")])
consumer("asset_max_active_runs", [asset("limited_a")], seconds=12, max_active_runs=1)
consumer("asset_catchup", [asset("catchup_a"), asset("catchup_b")], catchup=True)

# Two Dags that produce one asset; `several_gate` says when it is enough.
consumer("asset_several_producers", [asset("several"), asset("several_gate")])
producer("asset_several_producer_1", asset("several"))
producer("asset_several_producer_2", asset("several"))

with DAG("asset_mapped_producer", schedule=None, start_date=START):

    @task(outlets=[asset("mapped")])
    def produce_each(number, *, outlet_events):
        outlet_events[asset("mapped")].extra = {"number": number}

    produce_each.expand(number=[1, 2, 3])

consumer("asset_mapped", [asset("mapped"), asset("mapped_gate")])

# References: the asset itself is declared by its producer.
consumer("asset_by_name", Asset.ref(name="referred_by_name"))
producer("asset_by_name_producer", asset("referred_by_name"))
consumer("asset_by_uri", Asset.ref(uri="conformance://assets/referred_by_uri"))
producer("asset_by_uri_producer", asset("referred_by_uri"))
consumer("asset_by_name_and_asset", Asset.ref(name="half_by_name") & asset("half_by_asset"))
producer("asset_by_name_and_asset_producer", asset("half_by_name"))
consumer("asset_by_unknown_name", Asset.ref(name="nobody_has_this_name") | asset("beside_unknown_name"))

# Producers that mean an asset by its name or its URI.
consumer("asset_of_reference_outlet", asset("outlet_by_name") & asset("outlet_by_uri"))

with DAG("asset_reference_producer", schedule=None, start_date=START):

    @task(outlets=[Asset.ref(name="outlet_by_name"), Asset.ref(uri="conformance://assets/outlet_by_uri")])
    def produce_by_reference():
        pass

    produce_by_reference()

# Aliases, which lead to an asset that no Dag declares.
alias, half_alias = AssetAlias("assets_alias"), AssetAlias("assets_half_alias")
consumer("asset_by_alias", alias)
consumer("asset_by_alias_and_asset", half_alias & asset("beside_alias"))

for dag_id, given in (("asset_by_alias_producer", alias), ("asset_by_alias_and_asset_producer", half_alias)):
    with DAG(dag_id, schedule=None, start_date=START):

        @task(outlets=[given])
        def produce_through_alias(*, outlet_events, dag_run, given=given):
            outlet_events[given].add(asset(f"{given.name}_asset"), extra=dag_run.conf)

        produce_through_alias()

# Time makes one run of it: the one of new year.
consumer(
    "asset_or_time",
    AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 0 1 1 *", timezone="UTC"), assets=[asset("or_time")]),
    end_date=pendulum.datetime(2026, 6, 1, tz="UTC"),
)

# Assets that pass from Dag to Dag.
consumer("asset_middle", [asset("chain_first")], outlets=(asset("chain_second"),))
consumer("asset_last", [asset("chain_second")])
