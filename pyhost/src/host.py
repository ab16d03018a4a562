"""What must be Python: import Airflow once, fork children that run its own entry points."""

import fcntl
import gc
import importlib
import os
import signal
import socket
import sys
import traceback

# Airflow's exporters to OpenTelemetry are threads, started by imports. What such a thread holds while this process forks is held
# in the child for ever; so there is none here, and children start their own.
OTEL = ("AIRFLOW__METRICS__OTEL_ON", "AIRFLOW__TRACES__OTEL_ON")
_otel = {name: os.environ.get(name) for name in OTEL}
os.environ.update(dict.fromkeys(OTEL, "False"))

from airflow.sdk.execution_time import comms, supervisor, task_runner

# What nearly every child imports. A module that is not installed is left out.
PRELOADED = (
    "airflow.dag_processing.bundles.local",
    "airflow.dag_processing.bundles.manager",
    "airflow.dag_processing.dagbag",
    "airflow.dag_processing.processor",
    "airflow.providers.standard.decorators.bash",
    "airflow.providers.standard.decorators.branch_python",
    "airflow.providers.standard.decorators.python",
    "airflow.providers.standard.decorators.sensor",
    "airflow.providers.standard.decorators.short_circuit",
    "airflow.providers.standard.operators.bash",
    "airflow.providers.standard.operators.empty",
    "airflow.providers.standard.operators.python",
    "airflow.sdk._shared.logging.factory",
    "airflow.sdk._shared.logging.remote",
    "airflow.sdk.definitions.asset.metadata",
    "airflow.sdk.definitions.dag",
    "airflow.sdk.definitions.decorators",
    "airflow.sdk.definitions.taskgroup",
    "airflow.sdk.execution_time.context",
    "airflow.sdk.execution_time.xcom",
    "airflow.version",
    "jinja2.ext",
    "setproctitle",
)


def preload():
    """Import what children need; return the version of Airflow and the name of this host."""
    for module in PRELOADED:
        try:
            importlib.import_module(module)
        except ImportError:
            continue
    _keep_decoder()
    from airflow import __version__
    from airflow.sdk.api.client import get_hostname

    hostname = get_hostname()
    gc.collect()
    gc.freeze()
    return __version__, hostname


def preload_modules_of(file):
    """Import the Airflow modules that a Dag file imports, as `[dag_processor] parsing_pre_import_modules` has it.

    Returns how many modules are new.
    """
    import structlog
    from airflow.dag_processing import processor

    known = len(sys.modules)
    processor._pre_import_airflow_modules(file, structlog.get_logger("tradewind_pyhost"))
    new = len(sys.modules) - known
    if new:
        gc.collect()
        gc.freeze()
    return new


def _keep_decoder():
    """Build the decoder of answers, which has no state, once: every task would build it twice."""
    build = comms.TypeAdapter
    decoder = build(comms.ToTask)
    comms.TypeAdapter = lambda shape: decoder if shape is comms.ToTask else build(shape)


# The modules of children that no entry point of Airflow serves; set by the program, which brings them along.
evaluator = None
callback = None


def _main(kind):
    if kind == "task":
        return task_runner.main
    if kind == "evaluator":
        return evaluator.main
    if kind == "callback":
        return callback.main
    from airflow.dag_processing import processor

    return processor._parse_file_entrypoint


def _tie(pipe):
    """Have the kernel kill this process group when nobody holds the other end of the pipe any more.

    Then the supervisor is dead and so is the host that would end its children for it: the scheduler will give the work to
    another attempt, and this one must not go on beside it.
    """
    # Opened anew, because whom to signal belongs to an open file, which forked processes share.
    own = os.open(f"/proc/self/fd/{pipe}", os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(own, fcntl.F_SETOWN, -os.getpid())
    fcntl.fcntl(own, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(own, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.close(pipe)
    try:
        if not os.read(own, 1):
            os._exit(124)
    except BlockingIOError:
        pass


def _allow_otel():
    """Let OpenTelemetry be told of what happens from here on, where that is configured."""
    for name, value in _otel.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    from airflow import settings

    try:
        settings.configure_otel(settings.conf)
    except Exception:
        # A task is worth more than its traces.
        traceback.print_exc()


def fork(kind, requests, stdout, stderr, logs, private, tie):
    """Fork a child of the kind on the four descriptors; it loses the `private` ones of this process.

    Its life is tied to a pipe, when `tie` is the reading end of one.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        for descriptor in private:
            os.close(descriptor)
        if tie is not None:
            _tie(tie)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _allow_otel()
        channel = socket.socket(fileno=requests)

        def main():
            # A child that waits in reserve starts when its first frame comes, and ends in silence when none will.
            if channel.recv(1, socket.MSG_PEEK):
                _main(kind)()

        supervisor._fork_main(channel, socket.socket(fileno=stdout), socket.socket(fileno=stderr), logs, main)
    finally:
        os._exit(124)
