"""Checks the CloudFormation template of the dashboard and the alarms, and makes them at the emulator.

    template.py TEMPLATE ENDPOINT

Prints every metric that they ask for as JSON: its namespace, its name and its dimensions. CloudFormation of the emulator passes over
alarms without a word, so dashboard and alarms are made by themselves, too.
"""

import json
import sys

import boto3
import cfnlint.api
import cfnlint.config
from cfnlint.decode import decode

ENVIRONMENT = "MyAirflowEnvironment"
PARAMETERS = {"EnvironmentName": ENVIRONMENT, "Queue": "default", "AWS::Region": "us-east-1"}


def resolved(value):
    """The value with its parameters in place."""
    if isinstance(value, list):
        return [resolved(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "Ref" in value:
        return PARAMETERS[value["Ref"]]
    if "Fn::Sub" in value:
        text = value["Fn::Sub"]
        for name, given in PARAMETERS.items():
            text = text.replace("${" + name + "}", given)
        return text
    return {key: resolved(item) for key, item in value.items()}


def metrics_of_dashboard(body):
    for widget in json.loads(body)["widgets"]:
        for namespace, name, *dimensions in widget["properties"]["metrics"]:
            yield namespace, name, dict(zip(dimensions[::2], dimensions[1::2], strict=True))


def metrics_of_alarm(alarm):
    stats = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", []) if "MetricStat" in query]
    for metric in stats or [alarm]:
        dimensions = {dimension["Name"]: dimension["Value"] for dimension in metric["Dimensions"]}
        yield metric["Namespace"], metric["MetricName"], dimensions


def main():
    path, endpoint = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        text = file.read()
    faults = cfnlint.api.lint(text, config=cfnlint.config.ManualArgs(regions=["us-east-1"]))
    if faults:
        sys.exit("\n".join(str(fault) for fault in faults))

    def client(service):
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client(service, endpoint_url=endpoint, region_name="us-east-1", **keys)

    given = [{"ParameterKey": name, "ParameterValue": PARAMETERS[name]} for name in ("EnvironmentName", "Queue")]
    formation, watch = client("cloudformation"), client("cloudwatch")
    formation.create_stack(StackName="watched", TemplateBody=text, Parameters=given)
    status = formation.describe_stacks(StackName="watched")["Stacks"][0]["StackStatus"]
    if status != "CREATE_COMPLETE":
        sys.exit(f"the stack is {status}")

    template, faults = decode(path)
    if faults:
        sys.exit(str(faults))
    asked = []
    for resource in template["Resources"].values():
        properties = resolved(resource["Properties"])
        if resource["Type"] == "AWS::CloudWatch::Dashboard":
            watch.put_dashboard(**properties)
            asked.extend(metrics_of_dashboard(properties["DashboardBody"]))
        else:
            watch.put_metric_alarm(**properties)
            asked.extend(metrics_of_alarm(properties))
    print(json.dumps([{"namespace": namespace, "name": name, "dimensions": them} for namespace, name, them in asked]))


main()
