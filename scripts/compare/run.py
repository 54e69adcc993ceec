#!/usr/bin/env python3
"""Builds the worker of an older commit and that of the present tree, and lets both do the same works in turns.

Started by scripts/compare_with_commit.sh, which tells how. What a busy machine does to the times is kept out like this:

- The two programs take turns of a few milliseconds, each first in half of the rounds: a slow moment hits both.
- The shortest time of each counts, without what a long run has waited for the core while another process had it.
- All works are gone through several times, each time in new processes: a bad minute hits only a part of a work's turns,
  and so does an unlucky place in memory.
- A work with a ratio above 1.02 is measured again with more rounds, and so is one whose shortest time was found in one
  pass only, up to twice. If it still is, it has a question mark in the table: do not trust its ratio.

The programs are kept under target/compare, and nothing is built twice. The checkout of the commit is removed.
"""

import argparse
import fcntl
import hashlib
import json
import math
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "compare"

TURN = 4  # ms
# Many short passes: some works take 10 % longer in some processes than in others, by where their memory lies.
PASSES = 10
# A pass over a work ends early after so many seconds: long runs get fewer rounds, but at least one.
SECONDS = 0.3
# Works of which a round takes more seconds are left out of every second pass.
LONG = 0.1
# Each time with twice the rounds and the seconds of the time before.
REPETITIONS = 2
SUSPECT = 1.02
# Two passes whose shortest times lie so close have found it.
SAME = 1.01

MANIFEST = """
[package]
name = "worker"
version = "0.0.0"
edition = "2024"

[dependencies]
elman = {{ path = {tree} }}
rayon = "1.12"

[workspace]
"""


def say(text):
    print(text, file=sys.stderr, flush=True)


def output(*command):
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def program(commit):
    """The worker of a commit, or of the present tree. Kept for the next time: nothing is built twice.

    Both are built in the same place, as the place decides the names of functions, these the order of the code, and that a
    few percent of the time. What is the same source is the same program.
    """
    tree, project = BUILD / "tree", BUILD / "project"
    remove_tree(tree)
    try:
        if commit:
            # With force also where a checkout was registered that is there no longer.
            output("git", "worktree", "add", "--quiet", "--force", "--detach", tree, commit)
        else:
            copy_present_tree(tree)
        own = (tree / "scripts" / "compare" / "worker.rs").exists()
        compare = (tree if own else ROOT) / "scripts" / "compare"
        files = {
            # The versions of the dependencies are those of the tree.
            "Cargo.lock": (tree / "Cargo.lock").read_bytes(),
            "Cargo.toml": MANIFEST.format(tree=json.dumps(str(tree))).encode(),
            "src/main.rs": (compare / ("worker.rs" if own else "worker_first_api.rs")).read_bytes(),
            "src/common.rs": (compare / "common.rs").read_bytes(),
        }
        digest = hashlib.sha256()
        for name, content in files.items():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_bytes(content)
            digest.update(content)
        for path in [tree / "Cargo.toml", *sorted((tree / "src").rglob("*.rs"))]:
            digest.update(str(path).encode() + path.read_bytes())
        digest.update((output("rustc", "-vV") + os.environ.get("RUSTFLAGS", "")).encode())
        kept = BUILD / f"worker-{digest.hexdigest()[:16]}"
        if not kept.exists():
            say(f"building {commit or 'the present tree'}")
            command = ["cargo", "build", "--release", "--quiet", "--target-dir", project / "target"]
            if subprocess.run(command, cwd=project, check=False).returncode:
                sys.exit(f"compare_with_commit.sh: {commit or 'the present tree'} does not build with its worker")
            shutil.copy(project / "target" / "release" / "worker", kept.with_suffix(".part"))
            kept.with_suffix(".part").rename(kept)
        return kept
    finally:
        remove_tree(tree)


def copy_present_tree(tree):
    """What git knows or would add, as it is now. New times make cargo build it again."""
    for name in output("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if name and (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)


def remove_tree(tree):
    """A checkout of git or a copy, one that a killed run has left too."""
    if (tree / ".git").exists():
        subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=False)
    shutil.rmtree(tree, ignore_errors=True)


class Worker:
    def __init__(self, program):
        environment = {name: value for name, value in os.environ.items() if name != "ELMAN_LEVEL"}
        self.process = subprocess.Popen(
            [program, str(TURN)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, question):
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"a worker ended at the question: {question}")
        return answer.strip()

    def works(self):
        works = [self.ask("list")]
        while line := self.process.stdout.readline().strip():
            works.append(line)
        return works

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


class Times:
    """The shortest times of a work in both programs, one for each pass."""

    def __init__(self):
        self.old, self.new = [], []
        self.is_long = False

    @property
    def ratio(self):
        return min(self.new) / min(self.old)

    @property
    def found_twice(self):
        return all(sorted(times)[1] <= SAME * min(times) for times in (self.old, self.new))


def one_pass(programs, question, rounds, seconds, first):
    """The shortest time of each program within so many rounds, of which `first` begins the first one; seconds a round."""
    with Worker(programs[0]) as old, Worker(programs[1]) as new:
        workers, shortest = [old, new], [math.inf, math.inf]
        start = time.monotonic()
        done = 0
        while done == 0 or done < rounds and time.monotonic() - start < seconds:
            for side in (0, 1) if (done + first) % 2 == 0 else (1, 0):
                shortest[side] = min(shortest[side], float(workers[side].ask(question)))
            done += 1
        return *shortest, (time.monotonic() - start) / done


def measure(programs, questions, rounds):
    all_times = {question: Times() for question in questions}

    def passes(count, questions, rounds, seconds):
        for _ in range(count):
            for question in questions:
                times = all_times[question]
                old, new, round_seconds = one_pass(programs, question, rounds, seconds, len(times.old) % 2)
                times.old.append(old)
                times.new.append(new)
                times.is_long = round_seconds > LONG

    rounds = math.ceil(rounds / PASSES)
    start = time.monotonic()
    for done in range(1, PASSES + 1):
        say(f"{len(questions)} works, pass {done} of {PASSES}, after {time.monotonic() - start:.0f} s")
        passes(1, [q for q in questions if done % 2 == 1 or not all_times[q].is_long], rounds, SECONDS)
    for done in range(1, REPETITIONS + 1):
        # What is slower, and was found twice, is so: once more is enough.
        again = [
            question
            for question, times in all_times.items()
            if not times.found_twice or (done == 1 and times.ratio > SUSPECT)
        ]
        if not again:
            break
        say(f"{len(again)} works again, time {done} of {REPETITIONS}, after {time.monotonic() - start:.0f} s")
        passes(2, again, rounds << done, SECONDS * (1 << done))
    say(f"measured in {time.monotonic() - start:.0f} s\n")
    return all_times


def readable(seconds):
    for scale, unit in ((1e9, "ns"), (1e6, "us")):
        if seconds * scale < 1000:
            return f"{seconds * scale:.4g} {unit}"
    return f"{seconds * 1e3:.4g} ms"


def print_table(all_times, levels):
    print(f"{'level':10}{'work':24}{'old':>12}{'new':>12}{'new/old':>10}")
    for question, times in all_times.items():
        level, work = question.split(" ", 1)
        mark = "" if times.found_twice else " ?"
        print(f"{level:10}{work:24}{readable(min(times.old)):>12}{readable(min(times.new)):>12}{times.ratio:10.3f}{mark}")

    def median(group, level):
        ratios = [
            times.ratio
            for question, times in all_times.items()
            if re.fullmatch(rf"{level or '[^ ]+'} {group}( [0-9]+)?", question)
        ]
        return statistics.median(ratios)

    groups = list(dict.fromkeys(re.sub(" [0-9]+$", "", question.split(" ", 1)[1]) for question in all_times))
    columns = levels + [None]
    print(f"\n{'median new/old':34}" + "".join(f"{level or 'all':>10}" for level in columns))
    for group in groups:
        print(f"{group:34}" + "".join(f"{median(group, level):10.3f}" for level in columns))
    print(f"{'all':34}" + "".join(f"{median('.*?', level):10.3f}" for level in columns))
    worst = max(all_times, key=lambda question: all_times[question].ratio)
    print(f"\nworst: {worst}, {all_times[worst].ratio:.3f}")


def main():
    parser = argparse.ArgumentParser(prog="compare_with_commit.sh", description="See the head of the script.")
    parser.add_argument("commit")
    parser.add_argument("level", nargs="*", help="all levels of this CPU")
    parser.add_argument("--work", default="", metavar="PATTERN", help="a regular expression; all works")
    parser.add_argument("--rounds", type=int, default=60, help="turns of each program, for each work (60)")
    options = parser.parse_intermixed_args()
    try:
        commit = output("git", "rev-parse", "--quiet", "--verify", options.commit + "^{commit}")
    except subprocess.CalledProcessError:
        return f"compare_with_commit.sh: no such commit: {options.commit}"

    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / "lock", "w") as lock:
        # Two comparisons at once would disturb each other and build in the same place.
        fcntl.flock(lock, fcntl.LOCK_EX)
        programs = [program(commit), program(None)]
        with Worker(programs[0]) as old, Worker(programs[1]) as new:
            available = new.ask("levels").split()
            both = [work for work in old.works() if work in new.works()]
        levels = options.level or available
        if unknown := [level for level in levels if level not in available]:
            return f"compare_with_commit.sh: no such level: {unknown[0]}; this CPU has {', '.join(available)}"
        works = [work for work in both if re.search(options.work, work)]
        if not works:
            return f"compare_with_commit.sh: no such work: {options.work}; there are {', '.join(both)}"
        questions = [f"{level} {work}" for level in levels for work in works]
        all_times = measure(programs, questions, options.rounds)
    print(f"old: {output('git', 'log', '-1', '--format=%h %s', commit)}")
    print(f"new: {output('git', 'describe', '--always', '--dirty')}\n")
    print_table(all_times, levels)
    return 0


if __name__ == "__main__":
    sys.exit(main())
