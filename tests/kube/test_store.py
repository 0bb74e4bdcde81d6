import threading

from rigs.kernel import wait_until

from mbcasd.kube.objects import Metadata, Pod, PodSpec
from mbcasd.kube.store import Store

KEY = ("ns", "a")


def a_pod(version, node="n"):
    metadata = Metadata(name="a", namespace="ns", resource_version=str(version), generation=version)
    return Pod(metadata=metadata, spec=PodSpec(node_name=node))


def a_store(*, versions_matter=True):
    told = []
    store = Store(lambda key, item: told.append(item), versions_matter=versions_matter)
    return store, told


def test_what_came_changed_and_went_is_told_after_it_is_so():
    store = Store(lambda key, item: seen.append((item, store.get(key))), versions_matter=True)
    seen = []
    store.put(KEY, a_pod(1))
    store.put(KEY, a_pod(2))
    store.drop(KEY)
    assert seen == [(a_pod(1), a_pod(1)), (a_pod(2), a_pod(2)), (None, None)]


def test_a_version_that_is_known_is_no_news_and_neither_is_what_was_not_there():
    store, told = a_store()
    store.put(KEY, a_pod(1))
    store.put(KEY, a_pod(1))
    store.drop(("ns", "other"))
    assert told == [a_pod(1)]


def test_a_new_version_of_the_same_is_kept_and_not_told_where_versions_do_not_matter():
    store, told = a_store(versions_matter=False)
    store.put(KEY, a_pod(1))
    store.put(KEY, a_pod(2))
    store.put(KEY, a_pod(3, node="m"))
    assert told == [a_pod(1), a_pod(3, node="m")]
    assert store.get(KEY).metadata.resource_version == "3"


def test_snapshots_are_made_once_for_each_change():
    store, _ = a_store()
    store.put(KEY, a_pod(1))
    first = store.items
    assert store.items is first
    store.put(KEY, a_pod(2))
    assert store.items is not first
    assert first[KEY] == a_pod(1)


def test_what_is_not_among_the_listed_is_forgotten():
    store, told = a_store()
    for name in "abc":
        store.put(("ns", name), a_pod(1))
    store.drop_all_but({("ns", "b"), ("ns", "new")})
    assert list(store.items) == [("ns", "b")]
    assert told[3:] == [None, None]


def test_readers_never_meet_a_half_made_change():
    store, _ = a_store()
    stop = threading.Event()
    sizes = set()

    def read():
        while not stop.is_set():
            sizes.add(sum(1 for _ in store.items))

    reader = threading.Thread(target=read)
    reader.start()
    for version in range(2000):
        store.put(("ns", str(version % 50)), a_pod(version))
    wait_until(lambda: 50 in sizes, 10, "the reader has seen all")
    stop.set()
    reader.join()
    assert max(sizes) == 50
