"""What stands for a secrets backend in AWS where user code runs: the supervisor, which asks it, and has the credentials.

Airflow asks it before the environment; a question to the supervisor that says nothing of a backend comes after that.
"""

import functools

from airflow.sdk.bases.secrets_backend import BaseSecretsBackend


@functools.cache
def questions():
    """Give the questions for a connection and for a variable of the backend alone."""
    from airflow.sdk.execution_time.comms import GetConnection, GetVariable

    class GetConnectionOfBackend(GetConnection):
        of_backend: bool = True

    class GetVariableOfBackend(GetVariable):
        of_backend: bool = True

    return GetConnectionOfBackend, GetVariableOfBackend


def supervisor():
    """Give the channel to the supervisor; none where there is no supervisor."""
    from airflow.sdk.execution_time import task_runner

    return getattr(task_runner, "SUPERVISOR_COMMS", None)


class SupervisorBackend(BaseSecretsBackend):
    def __init__(self, **_):
        super().__init__()

    def get_conn_value(self, conn_id, team_name=None):
        raise NotImplementedError("Ask for the connection itself")

    def get_connection(self, conn_id, team_name=None):
        comms = supervisor()
        return comms and connection(comms.send(questions()[0](conn_id=conn_id)))

    async def aget_connection(self, conn_id):
        comms = supervisor()
        return comms and connection(await comms.asend(questions()[0](conn_id=conn_id)))

    def get_variable(self, key, team_name=None):
        comms = supervisor()
        return comms and variable(comms.send(questions()[1](key=key)))

    async def aget_variable(self, key):
        comms = supervisor()
        return comms and variable(await comms.asend(questions()[1](key=key)))


def connection(answer):
    """Give the connection of an answer; none where it is an error."""
    from airflow.sdk.execution_time.comms import ConnectionResult
    from airflow.sdk.execution_time.context import _process_connection_result_conn

    return _process_connection_result_conn(answer) if isinstance(answer, ConnectionResult) else None


def variable(answer):
    """Give the value of an answer; none where it is an error."""
    from airflow.sdk.execution_time.comms import VariableResult

    return answer.value if isinstance(answer, VariableResult) else None
