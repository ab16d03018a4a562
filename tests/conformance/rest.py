"""The REST API of Airflow, or of whoever serves it, for programs that need no more than the standard library."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

REQUEST_TIMEOUT_SECONDS = 60


class RestApi:
    """Calls as one user, who logs in with the first call."""

    def __init__(self, base_url: str, user: str, password: str):
        self.base_url = base_url
        self.credentials = {"username": user, "password": password}
        self._token: str | None = None

    def _request(self, method: str, path: str, body=None, token: str | None = None):
        request = urllib.request.Request(f"{self.base_url}{path}", method=method)
        request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data, timeout=REQUEST_TIMEOUT_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read().decode()[:500]}") from error

    def call(self, method: str, path: str, body=None):
        if self._token is None:
            self._token = self._request("POST", "/auth/token", self.credentials)["access_token"]
        return self._request(method, path, body, self._token)

    def healthy(self, *components: str) -> bool:
        """Whether the server answers and finds these components healthy."""
        try:
            status = self._request("GET", "/api/v2/monitor/health")
        except (OSError, RuntimeError):
            return False
        return all(status[name]["status"] == "healthy" for name in components)
