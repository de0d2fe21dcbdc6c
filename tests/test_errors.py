from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from phi4mm.errors import EngineError, PhiError


def all_subclasses(base: type[PhiError]) -> Iterator[type[PhiError]]:
    yield base
    for child in base.__subclasses__():
        yield from all_subclasses(child)


CLASSES = list(all_subclasses(PhiError))
ARGUMENTS: dict[type[PhiError], tuple[str, ...]] = {EngineError: ("the logits contain NaN", "r1")}  # others: a message


def make_error(cls: type[PhiError]) -> PhiError:
    return cls(*ARGUMENTS.get(cls, ("the folder is empty; name another",)))


def fail(error: PhiError) -> None:
    raise error


def pickled(error: PhiError) -> PhiError:
    back: PhiError = pickle.loads(pickle.dumps(error))
    return back


@pytest.mark.parametrize("again", [pickled, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("cls", CLASSES)
def test_case_b10_every_error_survives_pickling_and_copying(
    cls: type[PhiError], again: Callable[[PhiError], PhiError]
) -> None:
    """Case B10: an error that cannot be created again arrives as a TypeError without its text."""
    error = make_error(cls)
    back = again(error)
    assert type(back) is cls
    assert (str(back), back.args, vars(back)) == (str(error), error.args, vars(error))


def test_case_b10_every_error_comes_back_from_a_worker_process_and_the_pool_lives_on() -> None:
    """An error that cannot be unpickled breaks the whole pool: all other jobs fail with BrokenProcessPool."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for cls in CLASSES:
            error = pool.submit(fail, make_error(cls)).exception(timeout=60)
            assert type(error) is cls
            assert str(error) == str(make_error(cls))
        assert pool.submit(len, "alive").result(timeout=60) == 5


def test_an_engine_error_names_its_request() -> None:
    """A log must tell which of the many requests of a step failed."""
    error = pickled(EngineError("the logits contain NaN", "r1"))
    assert isinstance(error, EngineError)
    assert error.request_id == "r1"
    assert str(error) == "request r1: the logits contain NaN"
