"""A secrets backend of a deployment's own, which does with each name what the name says."""

import os
import time

from airflow.secrets import BaseSecretsBackend


class VaultBackend(BaseSecretsBackend):
    def __init__(self, token, **kwargs):
        super().__init__(**kwargs)
        self.token = token

    def _behave(self, name):
        if name == "raises":
            raise LookupError(f"the vault does not know the token {self.token}")
        if name == "hangs":
            time.sleep(600)
        if name == "dies":
            os._exit(7)

    def get_conn_value(self, conn_id, team_name=None):
        self._behave(conn_id)
        return "postgresql://vault:pa%2Fss@db.example/" if conn_id == "works" else None

    def get_variable(self, key, team_name=None):
        self._behave(key)
        return "Variable of vault" if key == "works" else None
