import pytest
from cluster_objects import agents

from mbcasctl.cluster import installing
from mbcasctl.cluster.installing import Installed, Variant
from mbcasctl.cluster.objects import ContainerSpec
from mbcasd import __version__
from mbcasd.errors import InstallError
from mbcasd.kube import manifests


def there(
    version: str = __version__, *, image: str | None = None, stored: tuple[str, ...] = ("v1alpha1",)
) -> Installed:
    return Installed(version=version, variant=Variant(image=image), stored_versions=stored)


@pytest.mark.parametrize("version", ["0.0.9", __version__, "0.1.0rc1", ""])
def test_what_is_older_or_the_same_is_replaced(version) -> None:
    installing.must_not_be_older(there(version))


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("0.1.1", "newer than this mbcasctl 0.1.0: use mbcasctl 0.1.1"),
        ("2.0.0-beta", "newer than this"),
        ("tomorrow", "version is 'tomorrow', which mbcasctl 0.1.0 does not know"),
    ],
)
def test_what_is_newer_or_unknown_is_left_alone_with_a_way_out(version, words) -> None:
    with pytest.raises(InstallError, match=r"mbcasctl uninstall") as refusal:
        installing.must_not_be_older(there(version))
    assert words in str(refusal.value)


def test_objects_that_are_stored_in_another_version_stop_an_upgrade() -> None:
    with pytest.raises(InstallError, match="stored as v1beta1"):
        installing.must_not_be_older(there(stored=("v1alpha1", "v1beta1")))


def test_an_image_of_ones_own_is_kept_only_for_the_same_version() -> None:
    theirs = "registry.example:5000/tools/mbcas:0.0.9"

    assert installing.image_to_keep(there(image=manifests.DEFAULT_IMAGE), None) is None
    assert installing.image_to_keep(there("0.0.9", image="mbcas:0.0.9"), None) is None
    assert installing.image_to_keep(there(image=theirs), None) == theirs
    assert installing.image_to_keep(there("0.0.9", image=theirs), "mine:1") == "mine:1"
    with pytest.raises(InstallError, match="name the one of"):
        installing.image_to_keep(there("0.0.9", image=theirs), None)


def test_choices_are_noted_with_the_agents_and_found_again() -> None:
    chosen = Variant(mode="enforce", cgroup="v1", host_network=True, monitoring=True)
    daemon_set = next(thing for thing in chosen.objects() if thing["kind"] == "DaemonSet")
    noted = daemon_set["metadata"]["annotations"]

    found = installing.variant_of(agents(mode="recommend", annotations=noted))
    # What people can see and change themselves is taken from what is there, the rest from the note.
    assert (found.mode, found.cgroup, found.host_network, found.monitoring) == ("recommend", "v2", False, True)


def test_an_installation_by_kubectl_has_no_note_and_is_read_off() -> None:
    found = installing.variant_of(agents(mode="enforce", annotations={"mbcas.io/installed-as": "not json"}))

    assert (found.mode, found.cgroup, found.image, found.opt_out) == ("enforce", "v2", "mbcas:0.1.0", False)


def test_what_is_not_chosen_stays_as_it_is() -> None:
    before, now = Variant(mode="enforce", monitoring=True), Variant(mode="observe", monitoring=False)

    assert installing.kept(before, now, mode=None, monitoring=None) == before
    assert installing.kept(before, now, mode="observe", monitoring=None) == Variant(mode="observe", monitoring=True)
    assert installing.kept(before, now, monitoring=False).monitoring is False


def test_a_flag_is_read_in_either_spelling() -> None:
    assert installing.option_of(ContainerSpec(args=("agent", "--mode=enforce")), "--mode") == "enforce"
    assert installing.option_of(ContainerSpec(command=("mbcasd", "agent", "--mode", "observe")), "--mode") == "observe"
    assert installing.option_of(ContainerSpec(args=("agent", "--mode")), "--mode") == ""


def test_one_mount_per_hierarchy_means_cgroup_v1() -> None:
    volumes = [
        volume for thing in Variant(cgroup="v1").objects() if thing["kind"] == "DaemonSet"
        for volume in thing["spec"]["template"]["spec"]["volumes"]
    ]  # fmt: skip
    seen = agents()
    template = type(seen.spec.template)(spec=type(seen.spec.template.spec)(volumes=tuple(volumes)))

    assert installing.cgroup_of(seen) == "v2"
    assert installing.cgroup_of(type(seen)(metadata=seen.metadata, spec=type(seen.spec)(template=template))) == "v1"
