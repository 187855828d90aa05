"""The list of an engine's workers, by what a scheduler that is none says of them."""

from typing import Any

from facesets.common.workers import LOOK, Worker, Workers


class Listed(Workers):
    """Whoever is `listed` answers at once what it is asked."""

    first, version, patience = "", "ours", 60.0

    def __init__(self) -> None:
        self.said: list[str] = []
        self.listed: dict[str, dict[str, Any]] = {}
        super().__init__("tcp://127.0.0.1:1", None, self.said.append)

    def there(self) -> dict[str, dict[str, Any]]:
        return self.listed

    def submit(self, work: Any, *data: Any, to: Any) -> str:
        key = str(len(self._futures))
        self._futures[key] = self       # type: ignore[assignment]
        self._done.put((key, self.version))
        return key

    def refusal(self, worker: Worker, proof: Any) -> str:
        return ""

    def lost(self, worker: Worker, ended: bool) -> None:
        pass


def test_a_worker_that_is_paused_when_it_is_first_seen_has_its_minute():
    workers = Listed()
    workers.listed = {"one": {"address": "tcp://127.0.0.1:2", "nthreads": 1, "nanny": None, "status": "paused",
                              "last_seen": 1.0}}
    for _ in range(4):
        workers.looked -= LOOK
        workers.look()
        if not workers.ready:
            assert not list(workers.answers())
    assert workers.ready and not workers.said


def test_a_worker_that_went_is_waited_for_if_somebody_starts_it_anew():
    workers = Listed()
    about = {"address": "tcp://127.0.0.1:2", "nthreads": 1, "status": "running", "last_seen": 1.0}
    workers.listed = {"one": {**about, "nanny": "its nanny"}, "two": {**about, "nanny": None},
                      "three": {**about, "nanny": "another"}}
    workers.look()
    assert not list(workers.answers()) and len(workers.ready) == 3
    workers.refuse(workers.workers["three"], "is not wanted")
    for listed, went in ({}, {"its nanny"}), ({"again": {**about, "nanny": "its nanny"}}, set()):
        workers.listed, workers.looked = listed, workers.looked - LOOK
        workers.look()
        assert workers.went.keys() == went
