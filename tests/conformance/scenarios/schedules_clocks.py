from scenario import Scenario

KINDS = ("interval", "interval_through_the_night", "trigger", "trigger_through_the_night", "several_triggers", "delta")

SCENARIOS = [
    Scenario(f"clock_{place}_{direction}_{kind}", scheduled=True)
    for place in ("new_york", "berlin", "sydney", "lord_howe", "sao_paulo")
    for direction in ("forwards", "backwards")
    for kind in KINDS
]
