from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from phi4mm.errors import EngineError, PhiError


def all_below(base: type[PhiError]) -> Iterator[type[PhiError]]:
    yield base
    for child in base.__subclasses__():
        yield from all_below(child)


CLASSES = list(all_below(PhiError))
ARGUMENTS: dict[type[PhiError], tuple[str, ...]] = {EngineError: ("the logits hold NaN", "r1")}  # others: a message


def made(cls: type[PhiError]) -> PhiError:
    return cls(*ARGUMENTS.get(cls, ("the folder is empty; name another",)))


def fail(error: PhiError) -> None:
    raise error


def pickled(error: PhiError) -> PhiError:
    back: PhiError = pickle.loads(pickle.dumps(error))
    return back


@pytest.mark.parametrize("again", [pickled, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_survives_pickling_and_copying(cls: type[PhiError], again: Callable[[PhiError], PhiError]) -> None:
    """Case B10: one that cannot be made again arrives as a TypeError about its constructor, without its words."""
    error = made(cls)
    back = again(error)
    assert type(back) is cls
    assert (str(back), back.args, vars(back)) == (str(error), error.args, vars(error))


def test_every_error_comes_back_from_a_worker_process_and_the_pool_lives_on() -> None:
    """One that cannot be unpickled breaks the whole pool: every other job of it dies with BrokenProcessPool."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for cls in CLASSES:
            error = pool.submit(fail, made(cls)).exception(timeout=60)
            assert type(error) is cls
            assert str(error) == str(made(cls))
        assert pool.submit(len, "alive").result(timeout=60) == 5


def test_an_engine_error_names_its_request() -> None:
    """Of many requests in one step, the one that failed must be found in a log."""
    error = pickled(EngineError("the logits hold NaN", "r1"))
    assert isinstance(error, EngineError)
    assert error.request_id == "r1"
    assert str(error) == "request r1: the logits hold NaN"
