"""One object for each hub, made when it is first needed."""

from __future__ import annotations

import weakref

import gevent

from engineio_gevent.per_hub import PerHub, lives
from support import in_thread


def test_one_object_for_all_greenlets_of_a_hub():
    made = []
    per_hub = PerHub(lambda hub: made.append(hub) or object())
    assert made == []
    first = per_hub.get()
    assert per_hub.get() is first
    assert gevent.spawn(per_hub.get).get(timeout=5) is first
    assert made == [gevent.get_hub()]


def test_another_native_thread_gets_another_object():
    per_hub = PerHub(lambda hub: [hub])

    def get():
        try:
            return per_hub.get() is per_hub.get(), per_hub.get()[0] is gevent.get_hub()
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    mine = per_hub.get()
    assert in_thread(get) == (True, True)
    assert per_hub.get() is mine


def test_the_next_hub_of_a_thread_gets_a_new_object():
    per_hub = PerHub(lambda hub: [hub])

    def get():
        found = []
        for _ in range(2):
            found.append(per_hub.get()[0] is gevent.get_hub())
            gevent.get_hub().destroy(destroy_loop=True)
        return found

    assert in_thread(get) == [True, True]


def test_objects_of_different_kinds():
    assert PerHub(lambda hub: 1).get() == 1
    assert PerHub(lambda hub: 2).get() == 2


def test_a_life_ends_with_its_thread():
    life = in_thread(lambda: weakref.ref(lives.get()))
    assert life() is None
    mine = weakref.ref(lives.get())
    gevent.spawn(lives.get).join()
    assert mine() is lives.get()
