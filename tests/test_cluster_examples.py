"""The cluster examples have what Ray and KubeRay ask for, and run a command that there is."""

import re
import shlex
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from rllib_sami_cli.train import train

CLUSTER = Path(__file__).parents[1] / "examples" / "cluster"


def _of(name):
    return yaml.safe_load((CLUSTER / name).read_text())


def _pods(job):
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def test_ray_takes_the_cluster_file():
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = _of("ray_cluster.yaml")
    validate_config(prepare_config(config))
    kinds = config["available_node_types"]
    assert kinds["runners"]["max_workers"] <= config["max_workers"]
    assert config["head_node_type"] in kinds
    del config["provider"]["type"]
    with pytest.raises(Exception, match="type"):  # the check does look
        validate_config(prepare_config(config))


def test_the_job_has_the_fields_that_kuberay_asks_for():
    job = _of("ray_job.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,45}[a-z0-9])?", job["metadata"]["name"])
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == version("ray")
    assert job["spec"]["entrypoint"]
    for group in _pods(job):
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        (container,) = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert isinstance(group["rayStartParams"], dict)
    for group in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]:
        assert group["groupName"]
        assert 0 < group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_all_machines_have_one_image_and_one_place_for_results():
    cluster, job = _of("ray_cluster.yaml"), _of("ray_job.yaml")
    images = {group["template"]["spec"]["containers"][0]["image"] for group in _pods(job)}
    assert images == {cluster["docker"]["image"]}
    assert f"FROM rayproject/ray:{version('ray')}-" in (CLUSTER / "Dockerfile").read_text()
    mounts = {
        m["mountPath"] for group in _pods(job) for m in group["template"]["spec"]["containers"][0]["volumeMounts"]
    }
    assert mounts == {"/results"}
    assert any(option.endswith(":/results") for option in cluster["docker"]["run_options"])


@pytest.mark.parametrize("name", ["ray_cluster.yaml", "ray_job.yaml"])
def test_one_trial_fits_into_the_smallest_cluster(name):
    if name == "ray_job.yaml":
        job = _of(name)
        command = job["spec"]["entrypoint"]
        groups = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
        cores = [
            (int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"]), group["minReplicas"])
            for group in groups
        ]
    else:
        text = " ".join(line.lstrip("# ") for line in (CLUSTER / name).read_text().splitlines()[:6])
        command = re.search(r'"(rllib [^"]+)"', text)[1]
        kinds = _of(name)["available_node_types"].values()
        cores = [(kind["resources"]["CPU"], kind.get("min_workers", 0)) for kind in kinds]
    words = shlex.split(command)
    assert words[words.index("--ray-address") + 1] == "auto"
    assert words[words.index("--local-dir") + 1] == "/results"
    runners = int(re.search(r"num_env_runners=(\d+)", command)[1])
    assert runners <= sum(cpus * count for cpus, count in cores)
    # The command's options exist: it gets as far as to look for a file that is not here.
    result = CliRunner().invoke(train, ["file", "/nowhere.yaml", *words[4:]], standalone_mode=False)
    assert "nowhere.yaml" in str(result.exception)
