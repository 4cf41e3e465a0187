"""Ctrl-C: once asks a run to save, twice ends it at once; a launcher's copy is no second one."""

import os
import pickle
import signal
from collections.abc import Callable
from time import monotonic, sleep

from alignmlm.errors import CheckpointError, ConfigError, ExitCode
from alignmlm.ranks.signals import ONE_PRESS_S, asked, listening

SAVED = 3


def interrupted(pauses_s: list[float], work: Callable[[], None]) -> int:
    """The exit code of a fork that listens and works, and gets SIGINT after each pause."""
    (ready, tell), child = os.pipe(), os.fork()
    if child == 0:
        with listening():
            os.write(tell, b"!")
            work()
            os._exit(SAVED)
    os.read(ready, 1)
    for pause_s in pauses_s:
        sleep(pause_s)
        os.kill(child, signal.SIGINT)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(ready)
    os.close(tell)
    return code


def until_asked() -> None:
    while not asked():
        sleep(0.01)
    sleep(ONE_PRESS_S)


def for_ever() -> None:
    end = monotonic() + 60
    while monotonic() < end:
        sleep(1)


def test_the_first_ctrl_c_asks_the_run_to_save():
    assert interrupted([0.0], until_asked) == SAVED


def test_one_ctrl_c_that_a_terminal_and_a_launcher_send_is_no_second_one():
    assert interrupted([0.0, ONE_PRESS_S / 5], until_asked) == SAVED


def test_the_second_ctrl_c_ends_a_process_at_once():
    assert interrupted([0.0, ONE_PRESS_S * 1.5], for_ever) == ExitCode.INTERRUPTED


def test_signals_mean_what_they_did_before_when_listening_is_over():
    before = signal.getsignal(signal.SIGINT)
    with listening():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_errors_that_rank_0_has_arrive_whole_at_other_ranks():
    for error in (ConfigError("run.dir", "runs/a", "be free"), CheckpointError("damaged")):
        sent = pickle.loads(pickle.dumps(error))
        assert (type(sent), str(sent)) == (type(error), str(error))
