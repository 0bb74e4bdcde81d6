import pytest

from mbcasctl.explaining.names import find
from mbcasd.errors import ConfigError
from mbcasd.model.identity import WorkloadId

WEB = WorkloadId("machine.slice/shop", "web")
WEB_2 = WorkloadId("machine.slice/shop", "web-2")
NOISE = WorkloadId("machine.slice/batch", "noise", "burner")
KNOWN = (WEB, WEB_2, NOISE)


@pytest.mark.parametrize(
    "text",
    ["machine.slice/shop/web", "/machine.slice/shop/web", "shop/web", "web", "*/shop/web", "we?"],
)
def test_a_name_is_found_whole_by_its_end_or_by_a_glob(text: str) -> None:
    assert find(text, KNOWN, "here") == WEB


@pytest.mark.parametrize("text", ["noise", "noise:burner", "batch/noise", "batch/noise:burner", "noi*"])
def test_a_container_need_not_be_named(text: str) -> None:
    assert find(text, KNOWN, "here") == NOISE


def test_several_that_fit_are_listed() -> None:
    with pytest.raises(ConfigError, match=r"'web\*' may mean machine.slice/shop/web, machine.slice/shop/web-2"):
        find("web*", KNOWN, "here")


def test_an_end_of_a_word_is_no_end_of_a_name() -> None:
    with pytest.raises(ConfigError, match=r"did you mean machine\.slice/shop/web"):
        find("eb", KNOWN, "here")


def test_an_unknown_name_lists_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no workload 'wbe' in here; did you mean machine\.slice/shop/web"):
        find("wbe", KNOWN, "here")


def test_a_name_like_none_lists_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"it knows machine\.slice/batch/noise:burner, machine\.slice/shop/web"):
        find("zzzzzz", KNOWN, "here")


def test_where_nothing_is_known_that_is_what_is_said() -> None:
    with pytest.raises(ConfigError, match="here knows none at all"):
        find("web", (), "here")


def test_a_long_list_is_cut() -> None:
    many = [WorkloadId("a", f"w{i:02}") for i in range(20)]

    with pytest.raises(ConfigError, match="a/w07 and 12 more: say which"):
        find("w*", many, "here")


@pytest.mark.parametrize("text", ["", "/", "[", "]["])
def test_nonsense_finds_nothing(text: str) -> None:
    with pytest.raises(ConfigError, match="no workload"):
        find(text, KNOWN, "here")
