"""What a stranger's tools must be able to do against the sandbox: boto3 and the `aws` command line, unchanged.

Usage: conformance.py ENDPOINT. Each part is a function that takes a Clients and raises on the first surprise; PARTS is the list.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ACCOUNT, REGION = "111122223333", "eu-central-1"
BASE, SUBNETS, GROUP = "ami-00000000000000001", ["subnet-0000000000000000a", "subnet-0000000000000000b"], "sg-00000000000000001"


class Clients:
    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.environment = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "sandbox",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
            "AWS_PAGER": "",
        }
        self.ec2, self.autoscaling = self.client("ec2"), self.client("autoscaling")
        self.elbv2, self.dynamodb, self.sts = self.client("elbv2"), self.client("dynamodb"), self.client("sts")

    def client(self, service, account=ACCOUNT, region=REGION):
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=region,
            aws_access_key_id=account,
            aws_secret_access_key="sandbox",
            config=Config(retries={"mode": "standard", "max_attempts": 6}),
        )

    def aws(self, *arguments):
        """The `aws` command line's answer, or None where there is no such command."""
        program = shutil.which("aws")
        if program is None:
            return None
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **self.environment}
        done = subprocess.run([program, "--output", "json", *arguments], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"aws {' '.join(arguments)}: {done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else {}


def refused(code, call, *arguments, **named):
    """The refusal of a call that must be refused with this code."""
    try:
        call(*arguments, **named)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, f"{error.response['Error']} instead of {code}"
        return error.response
    raise AssertionError(f"accepted, where {code} was due")


def until(what, probe, seconds=30):
    """The first truthy answer of `probe`; codes that mean "not yet to be seen" are waited out."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            answer = probe()
        except ClientError as error:
            if not error.response["Error"]["Code"].endswith("NotFound"):
                raise
            answer = None
        if answer:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"no {what} within {seconds} s")


def instance(clients, id):
    found = clients.ec2.describe_instances(InstanceIds=[id])
    return found["Reservations"][0]["Instances"][0]


def in_state(clients, id, *states):
    return until(f"{id} {states}", lambda: (found := instance(clients, id))["State"]["Name"] in states and found)


def launch(clients, token, **more):
    asked = dict(ImageId=BASE, InstanceType="t3.micro", MinCount=1, MaxCount=1, SubnetId=SUBNETS[0], ClientToken=token)
    return clients.ec2.run_instances(**{**asked, **more})


def identity(clients):
    assert clients.sts.get_caller_identity()["Account"] == ACCOUNT
    assert clients.client("sts", account="999988887777").get_caller_identity()["Account"] == "999988887777"


def instances(clients):
    ec2 = clients.ec2
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "adstage:app", "Value": "shop"}, {"Key": "Name", "Value": "one & two <three>"}]}]
    first = launch(clients, "conformance-1", TagSpecifications=tags, UserData="#!/bin/sh\ntrue\n")
    again = launch(clients, "conformance-1", TagSpecifications=tags, UserData="#!/bin/sh\ntrue\n")
    id = first["Instances"][0]["InstanceId"]
    assert again["Instances"][0]["InstanceId"] == id, "one token, one instance"
    refused("IdempotentParameterMismatch", launch, clients, "conformance-1", InstanceType="t3.small")
    elsewhere = launch(clients, "conformance-1", TagSpecifications=tags, UserData="#!/bin/sh\ntrue\n", SubnetId=SUBNETS[1])
    other = elsewhere["Instances"][0]["InstanceId"]
    assert other != id, "a token counts per Availability Zone"

    running = in_state(clients, id, "running")
    assert {tag["Key"]: tag["Value"] for tag in running["Tags"]}["Name"] == "one & two <three>"
    assert running["SubnetId"] == SUBNETS[0] and running["Placement"]["AvailabilityZone"] == REGION + "a"
    by_token = ec2.describe_instances(Filters=[{"Name": "client-token", "Values": ["conformance-1"]}])
    assert len([one for reservation in by_token["Reservations"] for one in reservation["Instances"]]) == 2
    by_tag = ec2.describe_instances(Filters=[{"Name": "tag:adstage:app", "Values": ["sh*"]}, {"Name": "instance-state-name", "Values": ["running", "pending"]}])
    assert len(by_tag["Reservations"]) == 2
    until("passed checks", lambda: ec2.describe_instance_status(InstanceIds=[id])["InstanceStatuses"][0]["InstanceStatus"]["Status"] == "ok")
    assert ec2.get_console_output(InstanceId=id)["InstanceId"] == id

    ec2.create_tags(Resources=[id], Tags=[{"Key": "adstage:mode", "Value": "fleet"}])
    found = ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [id]}, {"Name": "key", "Values": ["adstage:mode"]}])
    assert found["Tags"] == [{"Key": "adstage:mode", "Value": "fleet", "ResourceId": id, "ResourceType": "instance"}]
    ec2.delete_tags(Resources=[id], Tags=[{"Key": "adstage:mode"}])
    refused("InvalidParameterValue", ec2.create_tags, Resources=[id], Tags=[{"Key": "aws:mine", "Value": ""}])

    assert ec2.stop_instances(InstanceIds=[id])["StoppingInstances"][0]["CurrentState"]["Name"] == "stopping"
    in_state(clients, id, "stopped")
    ec2.start_instances(InstanceIds=[id])
    in_state(clients, id, "running")
    refused("InvalidInstanceID.NotFound", ec2.terminate_instances, InstanceIds=[id, "i-00000000000000bad"])
    assert instance(clients, id)["State"]["Name"] == "running", "all or nothing"
    ec2.terminate_instances(InstanceIds=[id, other])
    gone = in_state(clients, id, "terminated")
    assert gone["StateReason"]["Code"] == "Client.UserInitiatedShutdown" and "SubnetId" not in gone
    refused("IdempotentInstanceTerminated", launch, clients, "conformance-1", TagSpecifications=tags, UserData="#!/bin/sh\ntrue\n")
    refused("IncorrectInstanceState", ec2.start_instances, InstanceIds=[id])


def launches_refused(clients):
    ec2 = clients.ec2
    refused("InvalidAMIID.NotFound", launch, clients, "r-1", ImageId="ami-0000000000000dead")
    refused("InvalidSubnetID.NotFound", launch, clients, "r-2", SubnetId="subnet-0000000000000dead")
    refused("InvalidGroup.NotFound", launch, clients, "r-3", SecurityGroupIds=["sg-0000000000000dead"])
    refused("InvalidParameterValue", launch, clients, "r-4", InstanceType="m0.none")
    refused("InvalidParameterValue", launch, clients, "r-5", IamInstanceProfile={"Name": "nobody"})
    bad_key = [{"ResourceType": "instance", "Tags": [{"Key": "adstage/app", "Value": "shop"}]}]
    refused("InvalidParameterValue", launch, clients, "r-6", TagSpecifications=bad_key, MetadataOptions={"InstanceMetadataTags": "enabled"})
    refused("SandboxUnsupported", launch, clients, "r-7", InstanceMarketOptions={"MarketType": "spot"})
    refused("DryRunOperation", launch, clients, "r-8", DryRun=True)
    refused("SandboxUnsupported", ec2.create_vpc, CidrBlock="10.1.0.0/16")
    nothing = clients.client("ec2", account="999988887777").describe_instances()["Reservations"]
    assert nothing == [], "accounts see nothing of each other"


def images(clients):
    ec2 = clients.ec2
    id = launch(clients, "conformance-image")["Instances"][0]["InstanceId"]
    in_state(clients, id, "running")
    ec2.stop_instances(InstanceIds=[id])
    in_state(clients, id, "stopped")
    tags = [{"ResourceType": kind, "Tags": [{"Key": "adstage:bake", "Value": "1"}]} for kind in ("image", "snapshot")]
    image = ec2.create_image(InstanceId=id, Name="shop-1", TagSpecifications=tags)["ImageId"]
    refused("InvalidAMIName.Duplicate", ec2.create_image, InstanceId=id, Name="shop-1")
    refused("InvalidAMIName.Malformed", ec2.create_image, InstanceId=id, Name="a#b")
    first = until("image", lambda: ec2.describe_images(ImageIds=[image])["Images"])[0]
    assert first["State"] == "pending", "an image takes its time"
    refused("InvalidAMIID.Unavailable", launch, clients, "too-early", ImageId=image)
    ready = until("available image", lambda: (found := ec2.describe_images(ImageIds=[image])["Images"][0])["State"] == "available" and found)
    named = ec2.describe_images(Owners=["self"], Filters=[{"Name": "name", "Values": ["shop-*"]}, {"Name": "tag:adstage:bake", "Values": ["1"]}])
    assert [one["ImageId"] for one in named["Images"]] == [image], "the base image is Amazon's"
    snapshot = ready["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    described = ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]
    assert (described["State"], described["Progress"], described["Tags"]) == ("completed", "100%", [{"Key": "adstage:bake", "Value": "1"}])
    refused("InvalidSnapshot.InUse", ec2.delete_snapshot, SnapshotId=snapshot)
    child = launch(clients, "from-image", ImageId=image)["Instances"][0]["InstanceId"]
    ec2.deregister_image(ImageId=image)
    refused("InvalidAMIID.NotFound", ec2.describe_images, ImageIds=[image])
    in_state(clients, child, "running")
    ec2.delete_snapshot(SnapshotId=snapshot)
    refused("InvalidSnapshot.NotFound", ec2.describe_snapshots, SnapshotIds=[snapshot])
    second = ec2.create_image(InstanceId=child, Name="shop-1", NoReboot=True)["ImageId"]
    until("second image", lambda: ec2.describe_images(ImageIds=[second])["Images"][0]["State"] == "available")
    done = ec2.deregister_image(ImageId=second, DeleteAssociatedSnapshots=True)
    assert done["DeleteSnapshotResults"][0]["ReturnCode"] == "success"
    assert ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []
    ec2.terminate_instances(InstanceIds=[id, child])


def launch_templates(clients):
    ec2 = clients.ec2
    data = {
        "ImageId": BASE,
        "InstanceType": "m7i.large",
        "SecurityGroupIds": [GROUP],
        "UserData": "eyJhZHN0YWdlIjoxfQ==",
        "MetadataOptions": {"HttpTokens": "required", "InstanceMetadataTags": "enabled", "HttpPutResponseHopLimit": 2},
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "adstage:app", "Value": "shop"}]}],
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 20, "VolumeType": "gp3"}}],
    }
    asked = dict(LaunchTemplateName="shop-web-r1", LaunchTemplateData=data, ClientToken="lt-1")
    made = ec2.create_launch_template(**asked)["LaunchTemplate"]
    assert ec2.create_launch_template(**asked)["LaunchTemplate"]["LaunchTemplateId"] == made["LaunchTemplateId"]
    refused("IdempotentParameterMismatch", ec2.create_launch_template, **{**asked, "LaunchTemplateName": "shop-web-r2"})
    refused("InvalidLaunchTemplateName.AlreadyExistsException", ec2.create_launch_template, **{**asked, "ClientToken": "lt-2"})
    id = made["LaunchTemplateId"]
    until("template", lambda: ec2.describe_launch_templates(LaunchTemplateIds=[id])["LaunchTemplates"])
    newer = ec2.create_launch_template_version(LaunchTemplateId=id, SourceVersion="1", LaunchTemplateData={"InstanceType": "m7i.xlarge"})
    assert newer["LaunchTemplateVersion"]["VersionNumber"] == 2 and not newer["LaunchTemplateVersion"]["DefaultVersion"]
    shown = {one["VersionNumber"]: one["LaunchTemplateData"] for one in ec2.describe_launch_template_versions(LaunchTemplateName="shop-web-r1")["LaunchTemplateVersions"]}
    assert shown[1] == data, shown[1]
    assert shown[2] == {**data, "InstanceType": "m7i.xlarge"}
    started = ec2.run_instances(MinCount=1, MaxCount=1, SubnetId=SUBNETS[0], LaunchTemplate={"LaunchTemplateId": id, "Version": "$Latest"})["Instances"][0]
    assert started["InstanceType"] == "m7i.xlarge" and started["MetadataOptions"]["HttpTokens"] == "required"
    assert started["Tags"] == [{"Key": "adstage:app", "Value": "shop"}]
    refused("InvalidLaunchTemplateId.VersionNotFound", ec2.run_instances, MinCount=1, MaxCount=1, LaunchTemplate={"LaunchTemplateId": id, "Version": "9"})
    ec2.delete_launch_template(LaunchTemplateName="shop-web-r1")
    refused("InvalidLaunchTemplateId.NotFound", ec2.describe_launch_templates, LaunchTemplateIds=[id])
    refused("InvalidLaunchTemplateName.NotFoundException", ec2.delete_launch_template, LaunchTemplateName="shop-web-r1")
    until("instance to be seen", lambda: instance(clients, started["InstanceId"]))
    ec2.terminate_instances(InstanceIds=[started["InstanceId"]])


def network(clients):
    ec2 = clients.ec2
    subnets = ec2.describe_subnets(SubnetIds=SUBNETS)["Subnets"]
    assert [one["AvailabilityZone"] for one in subnets] == [REGION + "a", REGION + "b"]
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
    assert {one["VpcId"] for one in subnets} == {vpc}
    assert ec2.describe_security_groups(GroupIds=[GROUP])["SecurityGroups"][0]["VpcId"] == vpc
    refused("InvalidGroup.NotFound", ec2.describe_security_groups, GroupIds=["sg-0000000000000dead"])
    kinds = ec2.describe_instance_types(InstanceTypes=["m7i.large", "t3.micro"])["InstanceTypes"]
    sizes = {one["InstanceType"]: (one["VCpuInfo"]["DefaultVCpus"], one["MemoryInfo"]["SizeInMiB"]) for one in kinds}
    assert sizes == {"m7i.large": (2, 8192), "t3.micro": (2, 1024)}
    pages = list(ec2.get_paginator("describe_instance_types").paginate(PaginationConfig={"PageSize": 10}))
    assert len(pages) > 1 and len({one["InstanceType"] for page in pages for one in page["InstanceTypes"]}) == 28
    assert len(ec2.describe_availability_zones()["AvailabilityZones"]) == 3


def quotas(clients):
    quotas, standard = clients.client("service-quotas"), {"ServiceCode": "ec2", "QuotaCode": "L-1216C47A"}
    quota = quotas.get_service_quota(**standard)["Quota"]
    assert quota["Value"] >= 5 and quota["QuotaName"].startswith("Running On-Demand Standard"), quota
    assert quotas.get_aws_default_service_quota(**standard)["Quota"]["QuotaCode"] == "L-1216C47A"
    listed = [one["QuotaCode"] for one in quotas.list_service_quotas(ServiceCode="ec2")["Quotas"]]
    assert {"L-1216C47A", "L-34B43A08"} <= set(listed), listed
    # Nobody has any of these before asking: there is a default, but no applied value.
    refused("NoSuchResourceException", quotas.get_service_quota, ServiceCode="ec2", QuotaCode="L-DB2E81BA")
    assert quotas.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode="L-DB2E81BA")["Quota"]["Value"] == 0
    limits = {one["Name"]: int(one["Max"]) for one in clients.elbv2.describe_account_limits()["Limits"]}
    assert limits["rules-per-application-load-balancer"] == 100 and limits["target-groups"] == 3000, limits
    groups = clients.autoscaling.describe_account_limits()
    there = len(clients.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"])
    assert (groups["NumberOfAutoScalingGroups"], groups["MaxNumberOfAutoScalingGroups"]) == (there, 500), groups
    assert all(0 < one["AvailableIpAddressCount"] <= 251 for one in clients.ec2.describe_subnets(SubnetIds=SUBNETS)["Subnets"])
    answer = clients.aws("service-quotas", "get-service-quota", "--service-code", "ec2", "--quota-code", "L-1216C47A")
    assert answer is None or answer["Quota"]["Value"] == quota["Value"], answer


def items(clients):
    dynamodb = clients.dynamodb
    keys = dict(
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    )
    made = dynamodb.create_table(TableName="adstage", BillingMode="PAY_PER_REQUEST", **keys)["TableDescription"]
    assert made["TableStatus"] == "CREATING" and made["TableArn"] == f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/adstage"
    lock = {"pk": {"S": "shop#production"}, "sk": {"S": "LOCK"}, "owner": {"S": "me"}}
    refused("ResourceNotFoundException", dynamodb.put_item, TableName="adstage", Item=lock)
    refused("ResourceInUseException", dynamodb.create_table, TableName="adstage", BillingMode="PAY_PER_REQUEST", **keys)
    until("active table", lambda: dynamodb.describe_table(TableName="adstage")["Table"]["TableStatus"] == "ACTIVE")

    once = dict(TableName="adstage", Item=lock, ConditionExpression="attribute_not_exists(pk)")
    dynamodb.put_item(**once)
    refusal = refused("ConditionalCheckFailedException", dynamodb.put_item, **once, ReturnValuesOnConditionCheckFailure="ALL_OLD")
    assert refusal["Item"] == lock, "the refusal shows what is there"
    row = {"pk": {"S": "shop#production"}, "sk": {"S": "HEAD"}}
    writes = [
        {"ConditionCheck": {"TableName": "adstage", "Key": {"pk": lock["pk"], "sk": lock["sk"]}, "ConditionExpression": "#o = :me",
                            "ExpressionAttributeNames": {"#o": "owner"}, "ExpressionAttributeValues": {":me": {"S": "me"}}}},
        {"Put": {"TableName": "adstage", "Item": row, "ConditionExpression": "attribute_not_exists(pk)"}},
    ]
    dynamodb.transact_write_items(TransactItems=writes, ClientRequestToken="t-1")
    dynamodb.transact_write_items(TransactItems=writes, ClientRequestToken="t-1")
    refusal = refused("TransactionCanceledException", dynamodb.transact_write_items, TransactItems=writes, ClientRequestToken="t-2")
    assert [reason["Code"] for reason in refusal["CancellationReasons"]] == ["None", "ConditionalCheckFailed"]
    found = dynamodb.query(TableName="adstage", ConsistentRead=True, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": lock["pk"]})
    assert [one["sk"]["S"] for one in found["Items"]] == ["HEAD", "LOCK"]
    refused("ResourceNotFoundException", clients.client("dynamodb", region="eu-west-1").describe_table, TableName="adstage")

    dynamodb.update_time_to_live(TableName="adstage", TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"})
    assert dynamodb.describe_time_to_live(TableName="adstage")["TimeToLiveDescription"]["AttributeName"] == "expires"
    recovery = lambda: dynamodb.describe_continuous_backups(TableName="adstage")["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert recovery()["PointInTimeRecoveryStatus"] == "DISABLED"
    dynamodb.update_continuous_backups(TableName="adstage", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True})
    assert recovery()["PointInTimeRecoveryStatus"] == "ENABLED"
    dynamodb.tag_resource(ResourceArn=made["TableArn"], Tags=[{"Key": "adstage:app", "Value": "shop"}])
    assert dynamodb.list_tags_of_resource(ResourceArn=made["TableArn"])["Tags"] == [{"Key": "adstage:app", "Value": "shop"}]
    refused("SandboxUnsupported", dynamodb.list_backups)
    dynamodb.delete_table(TableName="adstage")


VPC = "vpc-00000000000000001"
QUICK_CHECK = dict(HealthCheckPath="/up", HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2, HealthyThresholdCount=2, UnhealthyThresholdCount=2)


def forward(**weights):
    groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weights.values()]
    return [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]


def balancer(clients, name, port=80):
    elbv2 = clients.elbv2
    made = elbv2.create_load_balancer(Name=name, Subnets=SUBNETS, SecurityGroups=[GROUP], Tags=[{"Key": "adstage:app", "Value": "shop"}])
    arn = made["LoadBalancers"][0]["LoadBalancerArn"]
    nothing_yet = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503", "ContentType": "text/plain", "MessageBody": "soon"}}]
    asked = dict(LoadBalancerArn=arn, Protocol="HTTP", Port=port, DefaultActions=nothing_yet)
    listener = elbv2.create_listener(**asked)["Listeners"][0]
    assert elbv2.create_listener(**asked)["Listeners"][0]["ListenerArn"] == listener["ListenerArn"]
    assert listener["DefaultActions"] == nothing_yet
    return arn, listener["ListenerArn"]


def target_group(clients, name, port=8001):
    made = clients.elbv2.create_target_group(Name=name, Protocol="HTTP", Port=port, VpcId=VPC, **QUICK_CHECK)["TargetGroups"][0]
    return made["TargetGroupArn"]


def health(clients, arn):
    shown = clients.elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    return sorted((one["TargetHealth"]["State"], one["TargetHealth"].get("Reason", "")) for one in shown)


def healthy(clients, arn, *states):
    return until(f"{states} in {arn}", lambda: [state for state, _ in health(clients, arn)] == list(states), 60)


def web_template(clients, name, script=""):
    told = {"adstage": 1, "services": {"web": {"port": 8001, "variables": {"SANDBOX_SCRIPT": script}}}}
    data = {
        "ImageId": BASE,
        "InstanceType": "m7i.large",
        "UserData": base64.b64encode(json.dumps(told).encode()).decode(),
        "MetadataOptions": {"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
    }
    return clients.ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)["LaunchTemplate"]["LaunchTemplateId"]


def group_of(clients, name, template, target_group, size=2):
    return clients.autoscaling.create_auto_scaling_group(
        AutoScalingGroupName=name,
        LaunchTemplate={"LaunchTemplateId": template, "Version": "1"},
        MinSize=size,
        MaxSize=4,
        DesiredCapacity=size,
        VPCZoneIdentifier=",".join(SUBNETS),
        TargetGroupARNs=[target_group],
        HealthCheckType="EC2",
        Tags=[{"Key": "adstage:services", "Value": "web", "PropagateAtLaunch": True}, {"Key": "adstage:owner", "Value": "ann", "PropagateAtLaunch": False}],
    )


def group(clients, name):
    found = clients.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    return found[0] if found else None


def load_balancers(clients):
    elbv2 = clients.elbv2
    arn, listener = balancer(clients, "conformance")
    active = until("active load balancer", lambda: (one := elbv2.describe_load_balancers(Names=["conformance"])["LoadBalancers"][0])["State"]["Code"] == "active" and one)
    assert [zone["SubnetId"] for zone in active["AvailabilityZones"]] == SUBNETS and active["Type"] == "application"
    refused("DuplicateLoadBalancerName", elbv2.create_load_balancer, Name="conformance", Subnets=SUBNETS, Scheme="internal")
    refused("LoadBalancerNotFound", elbv2.describe_load_balancers, Names=["none"])
    old, new = target_group(clients, "conformance-r1"), target_group(clients, "conformance-r2")
    assert target_group(clients, "conformance-r1") == old, "the same again is the same"
    refused("DuplicateTargetGroupName", elbv2.create_target_group, Name="conformance-r1", Protocol="HTTP", Port=9, VpcId=VPC)
    refused("TargetGroupNotFound", elbv2.describe_target_groups, Names=["none"])

    every_path = [{"Field": "path-pattern", "Values": ["/*"]}]
    made = elbv2.create_rule(ListenerArn=listener, Priority=10, Conditions=every_path, Actions=forward(a=(old, 100), b=(new, 0)), Tags=[{"Key": "adstage:release", "Value": "r1"}])["Rules"][0]
    assert "TargetGroupArn" not in made["Actions"][0], "several target groups: only in ForwardConfig"
    rule = made["RuleArn"]
    refused("PriorityInUse", elbv2.create_rule, ListenerArn=listener, Priority=10, Conditions=every_path, Actions=forward(a=(old, 1)))
    header = [{"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "x-adstage-probe", "Values": ["secret"]}}]
    test = elbv2.create_rule(ListenerArn=listener, Priority=1, Conditions=header, Actions=[{"Type": "forward", "TargetGroupArn": new}])["Rules"][0]
    assert test["Actions"][0]["TargetGroupArn"] == new and test["Conditions"][0]["HttpHeaderConfig"] == header[0]["HttpHeaderConfig"]
    until("both rules", lambda: len(elbv2.describe_rules(ListenerArn=listener)["Rules"]) == 3)
    shown = elbv2.describe_rules(ListenerArn=listener)["Rules"]
    assert [one["Priority"] for one in shown] == ["1", "10", "default"] and shown[2]["IsDefault"]
    changed = elbv2.modify_rule(RuleArn=rule, Actions=forward(a=(old, 0), b=(new, 100)))["Rules"][0]
    assert [one["Weight"] for one in changed["Actions"][0]["ForwardConfig"]["TargetGroups"]] == [0, 100]
    assert changed["Conditions"][0]["Values"] == ["/*"], "what is not sent stays"
    refused("OperationNotPermitted", elbv2.modify_rule, RuleArn=shown[2]["RuleArn"], Actions=forward(a=(old, 1)))
    refused("ResourceInUse", elbv2.delete_target_group, TargetGroupArn=old)
    refused("TargetGroupNotFound", elbv2.modify_rule, RuleArn=rule, Actions=forward(a=(old.replace("r1", "r9"), 1)))
    tags = elbv2.describe_tags(ResourceArns=[rule, arn])["TagDescriptions"]
    assert [one["Tags"][0]["Value"] for one in tags] == ["r1", "shop"]
    elbv2.modify_target_group_attributes(TargetGroupArn=old, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "30"}])
    attributes = {one["Key"]: one["Value"] for one in elbv2.describe_target_group_attributes(TargetGroupArn=old)["Attributes"]}
    assert attributes["deregistration_delay.timeout_seconds"] == "30"
    assert [one["TargetGroupArn"] for one in elbv2.describe_target_groups(LoadBalancerArn=arn)["TargetGroups"]] == sorted([old, new])

    for one in (rule, test["RuleArn"]):
        elbv2.delete_rule(RuleArn=one)
    refused("RuleNotFound", elbv2.delete_rule, RuleArn=rule)
    for one in (old, new, new):
        elbv2.delete_target_group(TargetGroupArn=one)
    elbv2.delete_load_balancer(LoadBalancerArn=arn)
    elbv2.delete_load_balancer(LoadBalancerArn=arn)


def groups(clients):
    elbv2, autoscaling = clients.elbv2, clients.autoscaling
    arn, listener = balancer(clients, "groups")
    web, template = target_group(clients, "groups-r1"), web_template(clients, "groups-r1")
    group_of(clients, "groups-r1", template, web)
    refused("AlreadyExists", group_of, clients, "groups-r1", template, web)
    refused("ValidationError", group_of, clients, "groups-r9", "lt-0000000000000dead", web)
    up = until("two in service", lambda: [one["LifecycleState"] for one in group(clients, "groups-r1")["Instances"]] == ["InService"] * 2 and group(clients, "groups-r1"))
    assert health(clients, web) == [("unused", "Target.NotInUse")] * 2, "no rule names it"
    assert up["TargetGroupARNs"] == [web] and up["LaunchTemplate"]["Version"] == "1" and up["HealthCheckGracePeriod"] == 0
    first = instance(clients, up["Instances"][0]["InstanceId"])
    tags = {tag["Key"]: tag["Value"] for tag in first["Tags"]}
    assert tags["adstage:services"] == "web" and tags["aws:autoscaling:groupName"] == "groups-r1" and "adstage:owner" not in tags
    by_tag = autoscaling.describe_auto_scaling_groups(Filters=[{"Name": "tag:adstage:services", "Values": ["web"]}])["AutoScalingGroups"]
    assert [one["AutoScalingGroupName"] for one in by_tag] == ["groups-r1"]

    rule = elbv2.create_rule(ListenerArn=listener, Priority=10, Conditions=[{"Field": "path-pattern", "Values": ["/*"]}], Actions=forward(a=(web, 0)))["Rules"][0]["RuleArn"]
    assert [state for state, _ in health(clients, web)] == ["initial"] * 2
    healthy(clients, web, "healthy", "healthy")
    source = autoscaling.describe_traffic_sources(AutoScalingGroupName="groups-r1")["TrafficSources"][0]
    assert (source["Identifier"], source["State"]) == (web, "InService")

    # A release that is not well, behind the same rule.
    bad, ill = target_group(clients, "groups-r2"), web_template(clients, "groups-r2", "unhealthy")
    group_of(clients, "groups-r2", ill, bad, 1)
    elbv2.modify_rule(RuleArn=rule, Actions=forward(a=(web, 100), b=(bad, 0)))
    healthy(clients, bad, "unhealthy")
    assert health(clients, bad) == [("unhealthy", "Target.ResponseCodeMismatch")]

    refused("ValidationError", autoscaling.set_desired_capacity, AutoScalingGroupName="groups-r1", DesiredCapacity=9)
    autoscaling.update_auto_scaling_group(AutoScalingGroupName="groups-r1", MinSize=1, DesiredCapacity=1)
    until("draining", lambda: ("draining", "Target.DeregistrationInProgress") in health(clients, web))
    newest = autoscaling.describe_scaling_activities(AutoScalingGroupName="groups-r1")["Activities"][0]
    assert newest["StatusCode"] == "WaitingForELBConnectionDraining", newest
    refused("ResourceInUse", autoscaling.delete_auto_scaling_group, AutoScalingGroupName="groups-r1")

    autoscaling.suspend_processes(AutoScalingGroupName="groups-r1", ScalingProcesses=["ReplaceUnhealthy"])
    assert [one["ProcessName"] for one in group(clients, "groups-r1")["SuspendedProcesses"]] == ["ReplaceUnhealthy"]
    autoscaling.resume_processes(AutoScalingGroupName="groups-r1")
    autoscaling.create_or_update_tags(Tags=[{"ResourceId": "groups-r1", "ResourceType": "auto-scaling-group", "Key": "adstage:live", "Value": "yes", "PropagateAtLaunch": False}])
    assert "adstage:live" in [tag["Key"] for tag in group(clients, "groups-r1")["Tags"]]

    for name in ("groups-r1", "groups-r2"):
        autoscaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)
        assert (group(clients, name) or {}).get("Status", "Delete in progress") == "Delete in progress"
    until("no groups", lambda: autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"] == [])
    refused("ValidationError", autoscaling.set_desired_capacity, AutoScalingGroupName="groups-r1", DesiredCapacity=1)
    elbv2.delete_load_balancer(LoadBalancerArn=arn)


def command_line(clients):
    identity = clients.aws("sts", "get-caller-identity")
    if identity is None:
        print("skipped: there is no `aws` command here", flush=True)
        return
    assert identity["Account"] == ACCOUNT
    run = ["ec2", "run-instances", "--image-id", BASE, "--instance-type", "t3.micro", "--count", "1", "--client-token", "cli-1"]
    one, two = clients.aws(*run), clients.aws(*run)
    id = one["Instances"][0]["InstanceId"]
    assert two["Instances"][0]["InstanceId"] == id
    in_state(clients, id, "running")
    shown = clients.aws("ec2", "describe-instances", "--filters", "Name=client-token,Values=cli-1")
    assert shown["Reservations"][0]["Instances"][0]["State"]["Name"] == "running"
    image = clients.aws("ec2", "create-image", "--instance-id", id, "--name", "cli-image")["ImageId"]
    until("image", lambda: clients.ec2.describe_images(ImageIds=[image])["Images"][0]["State"] == "available")
    assert clients.aws("ec2", "describe-images", "--owners", "self")["Images"][0]["ImageId"] == image
    clients.aws("dynamodb", "create-table", "--table-name", "cli", "--billing-mode", "PAY_PER_REQUEST",
                "--attribute-definitions", "AttributeName=pk,AttributeType=S", "--key-schema", "AttributeName=pk,KeyType=HASH")
    until("active table", lambda: clients.dynamodb.describe_table(TableName="cli")["Table"]["TableStatus"] == "ACTIVE")
    clients.aws("dynamodb", "put-item", "--table-name", "cli", "--item", '{"pk": {"S": "a"}}')
    assert clients.aws("dynamodb", "scan", "--table-name", "cli")["Count"] == 1
    clients.aws("ec2", "terminate-instances", "--instance-ids", id)
    arn, template = target_group(clients, "cli"), web_template(clients, "cli")
    clients.aws("autoscaling", "create-auto-scaling-group", "--auto-scaling-group-name", "cli", "--min-size", "0", "--max-size", "2",
                "--vpc-zone-identifier", ",".join(SUBNETS), "--launch-template", f"LaunchTemplateId={template},Version=1",
                "--target-group-arns", arn, "--tags", "Key=adstage:services,Value=web,PropagateAtLaunch=true")
    shown = clients.aws("autoscaling", "describe-auto-scaling-groups", "--auto-scaling-group-names", "cli")["AutoScalingGroups"][0]
    assert shown["Tags"][0]["PropagateAtLaunch"] and shown["TargetGroupARNs"] == [arn]


PARTS = [identity, network, quotas, instances, launches_refused, images, launch_templates, items, load_balancers, groups, command_line]


def main():
    clients = Clients(sys.argv[1])
    for part in PARTS:
        started = time.monotonic()
        part(clients)
        print(f"ok {part.__name__} {time.monotonic() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main()
