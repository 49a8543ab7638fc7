#!/usr/bin/env python3
"""Makes a table in Markdown of the lines that the torture checker appends to $TORTURE_REPORT.

    tests/torture/table.py REPORT [REPORT…]

A row is a fault on a bus with a store. Runs with one kind of fault alone (TORTURE_FAULTS) say of it what came of it; of
a run with several, each of them has all that is wrong in it.
"""

import json
import statistics
import sys
from collections import defaultdict

WRONG = {
    "lost": ("lost", "acknowledged_too_early"),
    "older on top": ("older_on_top",),
    "doubled against the promise": ("doubled", "doubled_in_peace", "never_sent"),
    "duplicates where they may be": ("duplicates",),
}


# Noted, and nothing that is done to anybody.
NO_FAULTS = {"peace", "a replay was too quick to be killed", "dead letters are sent again", "writers that ended by themselves"}


def lines(paths):
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                try:
                    yield json.loads(text)
                except json.JSONDecodeError as error:
                    sys.exit(f"{path}:{number}: {error}")


def rows(report):
    groups = defaultdict(list)
    for line in report:
        for fault, times in line["faults"].items():
            if fault in NO_FAULTS:
                continue
            groups[fault, line["bus"], line["store"]].append((times, line))
    for key, runs in sorted(groups.items()):
        fault = key[0]
        wrong = [sum(line.get(name) or 0 for _, line in runs for name in names) for names in WRONG.values()]
        # What is wrong and promised to be right is not counted twice.
        wrong[3] -= sum(line.get("doubled") or 0 for _, line in runs)
        took = [seconds for _, line in runs for seconds in line.get("seconds_to_recover", {}).get(fault, [])]
        known = sorted(seconds for seconds in took if seconds is not None)
        recovery = f"{statistics.median(known):.1f} s, {known[-1]:.1f} s" if known else "not measured"
        if late := len(took) - len(known):
            recovery += f"; {late} not within 30 s"
        # A fault strikes every role of a run.
        times = sum(max(of_run) for of_run in by_run(runs).values())
        yield [*key, times, sum(line["messages"] for _, line in runs), *wrong, recovery]


def by_run(runs):
    times = defaultdict(list)
    for count, line in runs:
        times[key_of(line)].append(count)
    return times


def key_of(line):
    return line["seed"], line["run"], line["seconds"]


def messages_of(run):
    """Each role has messages of its own; the two writers of the other runs read the same."""
    return sum(line["messages"] for line in run if "role" in line) + max(
        (line["messages"] for line in run if "role" not in line), default=0
    )


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    report = list(lines(sys.argv[1:]))
    head = ["fault", "bus", "store", "times", "messages", *WRONG, "to recover: median, longest"]
    print("| " + " | ".join(head) + " |")
    print("| " + " | ".join("---" for _ in head) + " |")
    for row in rows(report):
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    runs = {key_of(line): line for line in report}
    messages = sum(messages_of([line for line in report if key_of(line) == run]) for run in runs)
    faults = sum(times for line in runs.values() for fault, times in line["faults"].items() if fault not in NO_FAULTS)
    seeds = sorted({line["seed"] for line in report})
    print(f"\n{len(runs)} runs, {messages} messages, {faults} faults; seeds {', '.join(map(str, seeds))}.")
    writers = defaultdict(int)
    for line in report:
        writers[line["writer"], line["bus"], line["store"]] += line["messages"]
    print("\n| writer | bus | store | messages |\n| --- | --- | --- | --- |")
    for (writer, bus, store), count in sorted(writers.items()):
        print(f"| {writer} | {bus} | {store} | {count} |")
    print()
    for reason in sorted({reason for line in report for reason in line.get("left_out", [])}):
        print(f"Left out: {reason}.")


if __name__ == "__main__":
    main()
