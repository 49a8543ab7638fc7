"""Memory over a longer time: a writer that keeps up with 20,000 results a second, decoded and acknowledged."""

import statistics
import subprocess
import time

import measure

TITLE = "Memory over a longer time"
MARKS = "no growth: the end is no larger than the beginning, after a tenth of the time to warm up"
ONLY_IF_ASKED = True
A_SECOND = 20_000


def rows(bench):
    bench.make_topic("growth")
    config = bench.configuration("ONLINE_WRITER", "growth", "blackhole:", topic="growth")
    produce = [bench.tool, "produce", bench.kafka.address, "growth", bench.seconds * A_SECOND, "json", A_SECOND]
    producer = subprocess.Popen([str(word) for word in produce], stdout=subprocess.DEVNULL)
    begun, samples = time.monotonic(), []

    def look(pid):
        at = time.monotonic() - begun
        if not samples or at - samples[-1][0] >= 1:
            samples.append((at, measure.memory_of(pid, "VmRSS")))
        return producer.poll() is not None

    command = [bench.program, "--type", "ONLINE_WRITER", "--config", config, "--listen", "127.0.0.1:0"]
    try:
        measured = bench.run(command, until=look, timeout=2 * bench.seconds + 60)
    finally:
        producer.kill()
        producer.wait()
    tenth = len(samples) // 10
    first, last = samples[tenth : 3 * tenth], samples[-2 * tenth :]
    means = [statistics.mean(rss for _, rss in part) for part in (first, last)]
    yield [
        f"{A_SECOND:,} a second for {bench.seconds} s",
        f"{A_SECOND / 1000:,.0f} k",
        f"**{measured.cpu / bench.seconds / A_SECOND * 1e6:.2f}**",
        f"{measured.peak_mib:.0f}",
        "–",
        f"{means[0]:.1f} MiB in the second and third tenth of the time, {means[1]:.1f} MiB in the last two",
    ]
