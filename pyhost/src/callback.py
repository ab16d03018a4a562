"""Calls the callback of a missed deadline, by official Airflow's own `execute_callback`.

What to call comes as the first frame: the callback as it is stored, and where its Dag's file lies. Then the channel is that of a
task, over which the callback may ask for Connections and Variables.
"""

import sys


def main():
    """Call what the first frame names; end with 1 when that fails, as official Airflow does."""
    import structlog
    from airflow.sdk.execution_time import callback_supervisor, comms, task_runner
    from airflow.serialization.serialized_objects import BaseSerialization

    log = structlog.get_logger(logger_name="callback_runner")
    channel = comms.CommsDecoder[comms.ToTask, callback_supervisor.CallbackToSupervisor](log=log)
    task_runner.SUPERVISOR_COMMS = channel
    asked = channel._read_frame().body
    bundle = asked["bundle_path"]
    if bundle and bundle not in sys.path:
        sys.path.append(bundle)
    data = BaseSerialization.deserialize(asked["data"])
    success, error = callback_supervisor.execute_callback(
        callback_path=data.get("path", ""),
        callback_kwargs=data.get("kwargs") or {},
        dag_rel_path=asked["dag_rel_path"],
        bundle_path=bundle,
        log=log,
    )
    if not success:
        log.error("Callback failed", error=error)
        sys.exit(1)
