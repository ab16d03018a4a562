"""An AWS of one process, for tests and for trying Tradewind out: moto, and what the SDK of Rust needs beyond it.

    python aws.py [--host 127.0.0.1] [--port 5055] [--bucket my-bucket] [--with-parent]

Prints its address, and serves until it is told to end.

Served are S3, CloudWatch, CloudWatch Logs, Secrets Manager, SSM, ECS, and whatever else moto has. Everything is in memory.
"""

import argparse
import base64
import datetime
import io
import json
import os
import signal
import sys
import threading
import time

import botocore.session
import cbor2
from moto.ecs.responses import EC2ContainerServiceResponse
from moto.moto_api import state_manager
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import FakeBucket
from moto.s3.responses import S3Response
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import Client

# The service that speaks the protocol "Smithy RPC v2 CBOR" alone to its newer clients, by the name in its paths.
CBOR_SERVICES = {"GraniteServiceVersion20100801": "cloudwatch"}

# CBOR's tag of a time as seconds since 1970.
EPOCH_TAG = 1


class CborBridge:
    """Translates between CBOR, which CloudWatch's newer clients speak, and the JSON protocol that moto understands."""

    def __init__(self, application):
        self.application = application
        session = botocore.session.get_session()
        self.models = {path: session.get_service_model(name) for path, name in CBOR_SERVICES.items()}

    def __call__(self, environ, start_response):
        if environ.get("HTTP_SMITHY_PROTOCOL") != "rpc-v2-cbor":
            return self.application(environ, start_response)
        # /service/NAME/operation/NAME
        _, _, service, _, operation = environ["PATH_INFO"].split("/")
        status, headers, answer = self._ask_in_json(environ, service, operation)
        if status.startswith("200"):
            body = to_cbor(self.models[service].operation_model(operation).output_shape, answer)
        else:
            message = answer.get("message") or answer.get("Message") or ""
            body = {"__type": answer.get("__type", "InternalFailure"), "message": message}
        encoded = cbor2.dumps(body or {})
        kept = [(name, value) for name, value in headers if name.lower() == "x-amzn-requestid"]
        described = [
            ("content-type", "application/cbor"),
            ("smithy-protocol", "rpc-v2-cbor"),
            ("content-length", str(len(encoded))),
        ]
        start_response(status, described + kept)
        return [encoded]

    def _ask_in_json(self, environ, service, operation):
        length = int(environ.get("CONTENT_LENGTH") or 0)
        raw = environ["wsgi.input"].read(length) if length else environ["wsgi.input"].read()
        body = json.dumps(to_json(cbor2.loads(raw) if raw else {})).encode()
        translated = {name: value for name, value in environ.items() if name != "HTTP_SMITHY_PROTOCOL"}
        translated |= {
            "PATH_INFO": "/",
            "RAW_URI": "/",
            "REQUEST_URI": "/",
            "CONTENT_TYPE": "application/x-amz-json-1.0",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_X_AMZ_TARGET": f"{service}.{operation}",
            "wsgi.input": io.BytesIO(body),
        }
        started = []
        answer = b"".join(self.application(translated, lambda status, headers, *_: started.append((status, headers))))
        status, headers = started[-1]
        return status, headers, json.loads(answer) if answer.strip() else {}


def to_json(value):
    """What a CBOR request holds, in JSON's types."""
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    return value


def to_cbor(shape, value):
    """What a JSON answer holds, in the types that the operation's shape names."""
    if value is None or shape is None:
        return value
    match shape.type_name:
        case "structure":
            return {key: to_cbor(shape.members.get(key), item) for key, item in value.items() if item is not None}
        case "list":
            return [to_cbor(shape.member, item) for item in value]
        case "map":
            return {key: to_cbor(shape.value, item) for key, item in value.items()}
        case "timestamp":
            if isinstance(value, str):
                value = datetime.datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
            return cbor2.CBORTag(EPOCH_TAG, float(value))
        case "double" | "float":
            return float(value)
        case "blob":
            return base64.b64decode(value)
    return value


class TaskProtection:
    """Scale-in protection of ECS tasks, which moto has not."""

    # As AWS: two hours, unless told otherwise.
    DEFAULT_MINUTES = 120

    def __init__(self):
        self.protected_until = {}

    def install(self):
        protection = self
        EC2ContainerServiceResponse.update_task_protection = lambda response: protection.update(response)
        EC2ContainerServiceResponse.get_task_protection = lambda response: protection.get(response)

    def update(self, response):
        enabled = response._get_param("protectionEnabled")
        minutes = response._get_param("expiresInMinutes") or self.DEFAULT_MINUTES
        known, missing = self._split(response)
        for arn in known:
            if enabled:
                self.protected_until[arn] = time.time() + minutes * 60
            else:
                self.protected_until.pop(arn, None)
        return self._answer(known, missing)

    def get(self, response):
        return self._answer(*self._split(response))

    def _split(self, response):
        """The tasks that are asked about: those there are, and those there are not."""
        known = {arn for cluster in response.ecs_backend.tasks.values() for arn in cluster}
        asked = response._get_param("tasks") or sorted(known)
        return [arn for arn in asked if arn in known], [arn for arn in asked if arn not in known]

    def _answer(self, known, missing):
        tasks = []
        for arn in known:
            until = self.protected_until.get(arn, 0)
            enabled = until > time.time()
            tasks.append({"taskArn": arn, "protectionEnabled": enabled} | ({"expirationDate": until} if enabled else {}))
        failures = [{"arn": arn, "reason": "MISSING"} for arn in missing]
        return json.dumps({"protectedTasks": tasks, "failures": failures})


def keep_tasks_running():
    """Have ECS tasks run until they are stopped; in moto they stop by themselves when they have been looked at a few times."""
    state_manager.set_transition("ecs::task", {"progression": "manual", "times": sys.maxsize})


def version_buckets_of_templates():
    """Have CloudFormation obey a bucket's `VersioningConfiguration`, which moto overlooks."""
    create = FakeBucket.create_from_cloudformation_json.__func__

    def create_versioned(cls, resource_name, template, *arguments, **options):
        bucket = create(cls, resource_name, template, *arguments, **options)
        properties = template.get("Properties") or {}
        status = properties.get("VersioningConfiguration", {}).get("Status")
        if status:
            bucket.versioning_status = status
        return bucket

    FakeBucket.create_from_cloudformation_json = classmethod(create_versioned)


def tell_versioning_of_buckets():
    """Give the answer of `GetBucketVersioning` the name that S3 gives it, without which the SDK of Rust cannot read it."""

    def get_bucket_versioning(response):
        status = response.backend.get_bucket_versioning(response.bucket_name)
        inner = f"<Status>{status}</Status>" if status else ""
        body = f'<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inner}</VersioningConfiguration>'
        return 200, {"content-type": "application/xml"}, body

    S3Response.get_bucket_versioning = get_bucket_versioning


class Faults:
    """Fails the requests that a test wants to fail.

    `PUT /_faults` sets the list of faults; each has the start of a path, may name a method, a part of the query, and the end of a
    `target` (`SERVICE.OPERATION` of those services whose requests all have one path), and says what comes instead of an answer:
    `status` and `code` of an error, or `bytes`, after which the body of the answer breaks off.
    """

    def __init__(self, application):
        self.application = application
        self.faults = []

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"] == "/_faults":
            self.faults = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            start_response("204 No Content", [])
            return []
        fault = next((fault for fault in self.faults if self._concerns(fault, environ)), None)
        if fault is None:
            return self.application(environ, start_response)
        if "bytes" in fault:
            return [b"".join(self.application(environ, start_response))[: fault["bytes"]]]
        code = fault["code"]
        if "target" in fault:
            kind = "application/x-amz-json-1.1"
            body = json.dumps({"__type": code, "message": "as the test wants it"}).encode()
        else:
            kind = "application/xml"
            body = f"<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>".encode()
        headers = [("content-type", kind), ("content-length", str(len(body)))]
        start_response(f"{fault['status']} {code}", headers)
        return [body]

    @staticmethod
    def _concerns(fault, environ):
        return (
            environ["PATH_INFO"].startswith(fault["path"])
            and environ["REQUEST_METHOD"] == fault.get("method", environ["REQUEST_METHOD"])
            and fault.get("query", "") in environ["QUERY_STRING"]
            and environ.get("HTTP_X_AMZ_TARGET", "").endswith(fault.get("target", ""))
        )


class QuietHandler(WSGIRequestHandler):
    """Says nothing of requests, and lets clients keep their connections."""

    protocol_version = "HTTP/1.1"

    def log_request(self, *_):
        pass


def make_bucket(application, name):
    """Make a bucket that keeps versions of its objects, as that of an Amazon MWAA environment has to."""
    client = Client(application)
    versioning = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    for query, body in ((None, None), ("versioning", versioning)):
        answer = client.put(f"/{name}", query_string=query, data=body)
        if answer.status_code != 200:
            sys.exit(f"the bucket {name} cannot be made: {answer.status}\n{answer.text}")


def end_with_standard_input():
    """End when whoever holds the other end of standard input does, which may be killed."""

    def wait():
        # Not by `sys.stdin`, whose lock would be held while the interpreter ends.
        while os.read(0, 1024):
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--host", default="127.0.0.1", help="address to listen on")
    arguments.add_argument("--port", type=int, default=0, help="port to listen on; 0 for any free one")
    arguments.add_argument("--bucket", help="a bucket that is there from the start")
    arguments.add_argument("--with-parent", action="store_true", help="end when standard input is closed")
    given = arguments.parse_args()
    TaskProtection().install()
    keep_tasks_running()
    version_buckets_of_templates()
    tell_versioning_of_buckets()
    application = Faults(CborBridge(DomainDispatcherApplication(create_backend_app)))
    if given.bucket:
        make_bucket(application, given.bucket)
    if given.with_parent:
        end_with_standard_input()
    server = make_server(given.host, given.port, application, threaded=True, request_handler=QuietHandler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    print(f"AWS emulator: http://{given.host}:{server.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
