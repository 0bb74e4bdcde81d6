import dataclasses
import re
from pathlib import Path

import pytest

import mbcasd
from mbcasd.configfile import aliases
from mbcasd.configfile.keys import BY_DOTTED, KEYS, NOT_IN_FORCE_YET, SECTIONS, WORKLOAD, WORKLOAD_KEYS, about_section
from mbcasd.settings import Settings, WorkloadRule


def fields_of(keys) -> list[str]:
    return [name for key in keys for name in ((key.fields,) if isinstance(key.fields, str) else key.fields)]


def test_sections_are_the_topics_of_the_settings_in_their_order():
    topics = [field.name for field in dataclasses.fields(Settings) if field.name != "workloads"]

    assert list(SECTIONS) == topics


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_of_a_topic_has_exactly_one_key(section):
    topic = getattr(Settings(), section)

    filled = fields_of(key for key in KEYS if key.section == section)

    assert sorted(filled) == sorted(field.name for field in dataclasses.fields(topic))


def test_every_field_of_a_workload_rule_has_exactly_one_key():
    assert sorted(fields_of(WORKLOAD_KEYS)) == sorted(field.name for field in dataclasses.fields(WorkloadRule))


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.dotted)
def test_a_default_written_and_read_again_is_the_default(key):
    default = key.of(Settings())

    shown = key.kind.show(default)

    assert shown is None or key.kind.parse(shown) == default


@pytest.mark.parametrize("key", BY_DOTTED.values(), ids=lambda key: key.dotted)
def test_every_key_says_its_reason_in_a_sentence(key):
    assert key.why.endswith(".")
    assert key.why[0].isupper() or key.why.split()[0] in {"tobit", "bandit"}
    assert key.kind.form


@pytest.mark.parametrize("section", [*SECTIONS, WORKLOAD])
def test_every_section_says_what_it_is_for(section):
    assert about_section(section)


def test_every_alias_leads_to_keys_that_exist():
    assert all(name in BY_DOTTED for alias in aliases.ALIASES.values() for name in alias.keys)


def test_a_setting_that_no_code_reads_is_marked_so():
    package = Path(mbcasd.__file__).parent
    others = [path for path in package.rglob("*.py") if path.parent.name != "configfile" and path.name != "settings.py"]
    code = "\n".join(path.read_text() for path in others)

    for key in KEYS:
        if key.dotted not in NOT_IN_FORCE_YET:
            assert all(re.search(rf"\.{field}\b", code) for field in fields_of([key])), key.dotted
