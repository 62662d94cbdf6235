"""Fifty random faults, two worlds at a time: nothing is lost, doubled or altered. `./build.sh faults N` does more."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from tests.faults.one_round import command
from tests.faults.tally import FAULTS_PER_ROUND, Round

SEEDS = (20261123, 20261124)
LIMIT_S = 240


def test_fifty_faults_lose_double_and_alter_nothing(tmp_path: Path) -> None:
    def play(number: int) -> Round:
        folder = tmp_path / f"round {number}"
        done = subprocess.run(
            command(folder, number, SEEDS[number], FAULTS_PER_ROUND),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.stdout, done.stderr
        return msgspec.json.decode(done.stdout.strip().splitlines()[-1], type=Round)

    with ThreadPoolExecutor(len(SEEDS)) as pool:
        rounds = list(pool.map(play, range(len(SEEDS))))
    assert [(round.lost, round.doubled, round.altered) for round in rounds] == [(0, 0, 0)] * len(SEEDS), rounds
    assert sum(sum(round.faults.values()) for round in rounds) == FAULTS_PER_ROUND * len(SEEDS)
    assert all(round.records > FAULTS_PER_ROUND for round in rounds)
