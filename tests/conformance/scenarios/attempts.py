from scenario import Scenario

PLAIN = ("retry_then_success", "retries_exhausted", "retry_with_backoff", "exceptions", "process_ends", "execution_timeout")
CALLBACKS = ("callbacks_failure", "callbacks_success", "callback_after_kill")

SCENARIOS = [*(Scenario(dag_id) for dag_id in PLAIN), *(Scenario(dag_id, settle_seconds=15) for dag_id in CALLBACKS)]
