"""The REST API of Airflow, or of whoever serves it, for programs that need no more than the standard library."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

REQUEST_TIMEOUT_SECONDS = 60


def _json(body: bytes):
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode(errors="replace")


class RestApi:
    """Calls as one user, who logs in with the first call."""

    def __init__(self, base_url: str, user: str, password: str):
        self.base_url = base_url
        self.credentials = {"username": user, "password": password}
        self._token: str | None = None

    def _answer(self, method: str, path: str, body=None, token: str | None = None) -> tuple[int, object]:
        request = urllib.request.Request(f"{self.base_url}{path}", method=method)
        request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data, timeout=REQUEST_TIMEOUT_SECONDS) as answer:
                return answer.status, _json(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _json(error.read())

    def _request(self, method: str, path: str, body=None, token: str | None = None):
        status, answer = self._answer(method, path, body, token)
        if status >= 400:
            raise RuntimeError(f"{method} {path}: {status} {json.dumps(answer)[:500]}")
        return answer

    def _login(self) -> str:
        if self._token is None:
            self._token = self._request("POST", "/auth/token", self.credentials)["access_token"]
        return self._token

    def call(self, method: str, path: str, body=None):
        """The answer's body; whatever is no success raises."""
        return self._request(method, path, body, self._login())

    def answer(self, method: str, path: str, body=None) -> tuple[int, object]:
        """Status and body of the answer, whatever the status."""
        return self._answer(method, path, body, self._login())

    def healthy(self, *components: str) -> bool:
        """Whether the server answers and finds these components healthy."""
        try:
            status = self._request("GET", "/api/v2/monitor/health")
        except (OSError, RuntimeError):
            return False
        return all(status[name]["status"] == "healthy" for name in components)
