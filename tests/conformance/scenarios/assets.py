"""What happens to the assets of `dags/assets.py`."""

from __future__ import annotations

from scenario import Event, Pause, Produce, Scenario

AT_ONCE = 0


def consumed(dag_id: str, *steps: Event | Produce | Pause) -> Scenario:
    return Scenario(dag_id, runs=(), scheduled=True, steps=steps)


SCENARIOS = [
    consumed("asset_and", Event("and_a"), Event("and_a", {"n": 2}), Event("and_b"), Event("and_b"), Event("and_a")),
    consumed("asset_or", Event("or_a"), Event("or_b", {"n": 1}), Event("or_a")),
    consumed("asset_nested", Event("nested_c"), Event("nested_a"), Event("nested_e"), Event("nested_a"), Event("nested_b")),
    consumed("asset_of_any_in_list", Event("listed_a"), Event("listed_b"), Event("listed_c")),
    consumed(
        "asset_paused",
        Pause("asset_paused"),
        Event("paused_a", {"while": "paused"}),
        Pause("asset_paused", False, 5),
        Event("paused_a"),
    ),
    consumed(
        "asset_paused_while_waiting",
        Event("waiting_a"),
        Pause("asset_paused_while_waiting"),
        Event("waiting_b", {"while": "paused"}),
        Pause("asset_paused_while_waiting", False, 5),
        Event("waiting_b"),
    ),
    # The second and third event arrive while the first one's run is active, the last one when all runs have ended.
    consumed(
        "asset_max_active_runs",
        Event("limited_a", {"n": 1}, settle_seconds=5),
        Event("limited_a", {"n": 2}, settle_seconds=AT_ONCE),
        Event("limited_a", {"n": 3}, settle_seconds=45),
        Event("limited_a", {"n": 4}),
    ),
    consumed("asset_catchup", Event("catchup_a"), Event("catchup_b")),
    consumed(
        "asset_several_producers",
        Produce("asset_several_producer_1", {"n": 1}, settle_seconds=AT_ONCE),
        Produce("asset_several_producer_2", {"n": 2}, settle_seconds=AT_ONCE),
        Produce("asset_several_producer_1", {"n": 3}),
        Event("several_gate"),
    ),
    consumed("asset_mapped", Produce("asset_mapped_producer"), Event("mapped_gate")),
    consumed("asset_by_name", Produce("asset_by_name_producer", {"n": 1}), Event("referred_by_name")),
    consumed("asset_by_uri", Produce("asset_by_uri_producer", {"n": 1}), Event("referred_by_uri")),
    consumed("asset_by_name_and_asset", Event("half_by_asset"), Produce("asset_by_name_and_asset_producer")),
    consumed("asset_by_unknown_name", Event("beside_unknown_name")),
    consumed("asset_of_reference_outlet", Produce("asset_reference_producer")),
    consumed(
        "asset_by_alias",
        Produce("asset_by_alias_producer", {"n": 1}),
        Produce("asset_by_alias_producer", {"n": 2}),
        Event("assets_alias_asset"),
    ),
    consumed(
        "asset_by_alias_and_asset",
        Event("beside_alias"),
        Produce("asset_by_alias_and_asset_producer", {"n": 1}),
    ),
    consumed("asset_or_time", Event("or_time")),
    consumed("asset_last", Pause("asset_middle", False), Event("chain_first")),
]
