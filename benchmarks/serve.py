"""Load on `cmad serve`: clients that send parts as fast as they are answered.

Prints parts per second beside those of calling predict in a loop, latencies, and the server's
memory over time. Loop and load take turns, as the speed of a machine changes from minute to minute;
the ratio is the median of the rounds'. Random weights: no download.

    python benchmarks/serve.py --seconds 60 --clients 4
"""

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import threading
from itertools import chain, count
from pathlib import Path
from time import perf_counter, sleep

import numpy as np
from _environment import environment

import cmad
from cmad.datasets import Synthetic
from cmad.datasets.files import read_sample
from cmad.datasets.writing import write_part

BOUNDARY = "cmad-benchmark"
ROUNDS = 6
"""Of loop and load by turns."""


def form(rgb, xyz):
    """The body of a request, from two files."""
    parts = []
    for field, path in (("image", rgb), ("points", xyz)):
        head = f'Content-Disposition: form-data; name="{field}"; filename="{path.name}"'
        parts.append(f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + path.read_bytes() + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def client(port, bodies, until, latencies, refused):
    """Send parts one after the other, on one connection."""
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    to = http.client.HTTPConnection("127.0.0.1", port)
    for i in count():
        begin = perf_counter()
        if begin > until:
            break
        to.request("POST", "/score", bodies[i % len(bodies)], headers)
        answer = to.getresponse()
        answer.read()
        if answer.status == 503:
            refused.append(begin)
            sleep(int(answer.headers["Retry-After"]))
        else:
            assert answer.status == 200, answer.status
            latencies.append(perf_counter() - begin)
    to.close()


def memory(process):
    """Resident MB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=60)
    arguments.add_argument("--clients", type=int, default=4)
    arguments.add_argument("--size", type=int, default=400, help="pixels along each side of parts")
    arguments.add_argument("--image-size", type=int, default=224)
    arguments.add_argument("--rgb", default="vit_small_patch8_224")
    asked = arguments.parse_args()
    print(json.dumps(environment()))
    with tempfile.TemporaryDirectory() as made:
        folder, size = Path(made), (asked.size, asked.size)
        detector = cmad.CFM("tiny", rgb=asked.rgb, image_size=asked.image_size, weights="random")
        train = Synthetic("train", good=3, size=size)
        detector.fit(train, epochs=1, pixels_per_image=200, progress=False)
        parts = Synthetic("validation", good=9, size=size)
        detector.calibrate(parts, 0.2, progress=False)
        detector.save(folder / "tiny.cmad")
        for i, part in enumerate(Synthetic("test", good=4, defective=4, size=size)):
            write_part(part, folder / "parts", str(i))
        files = [(folder / f"parts/rgb/{i}.png", folder / f"parts/xyz/{i}.tiff") for i in range(8)]
        command = [sys.executable, "-u", "-m", "cmad", "serve", folder / "tiny.cmad", "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                line = next(text for text in process.stdout if text.startswith("serving "))
                port = int(line.rsplit(":", 1)[1])
                bodies = [form(*pair) for pair in files]
                client(port, bodies, perf_counter() + asked.seconds / 10, [], [])  # warms up
                rounds, used = [], []
                for _ in range(ROUNDS):
                    before = in_a_loop(detector, files, asked.seconds / ROUNDS / 2)
                    rate, *told = measure(process, port, bodies, asked)
                    used += told.pop()
                    after = in_a_loop(detector, files, asked.seconds / ROUNDS / 2)
                    rounds.append((rate, (before + after) / 2, *told))
            finally:
                process.terminate()
                process.communicate()
        tell(rounds, used, asked.clients)


def in_a_loop(detector, files, seconds):
    """Parts per second of reading and predicting in a loop."""
    for rgb, xyz in files[:2]:
        sample = read_sample(rgb, xyz)
        detector.predict(sample.rgb, sample.xyz)
    done, begin = 0, perf_counter()
    while perf_counter() - begin < seconds:
        sample = read_sample(*files[done % len(files)])
        detector.predict(sample.rgb, sample.xyz)
        done += 1
    return done / (perf_counter() - begin)


def measure(process, port, bodies, asked):
    """Of a round: parts per second, latencies, refusals and the server's memory, once a second."""
    latencies, refused, used = [], [], []
    seconds = asked.seconds / ROUNDS
    begin = perf_counter()
    rest = port, bodies, begin + seconds, latencies, refused
    threads = [threading.Thread(target=client, args=rest) for _ in range(asked.clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        sleep(min(seconds / 5, 1))
        used.append(memory(process))
    return len(latencies) / (perf_counter() - begin), latencies, refused, used


def tell(rounds, used, clients):
    rates, loops, latencies, refused = zip(*rounds, strict=True)
    latencies, refused = list(chain(*latencies)), list(chain(*refused))
    ratios = sorted(100 * rate / loop for rate, loop, *_ in rounds)
    print(f"predict in a loop: {np.median(loops):.2f} parts/s, files read too")
    print(
        f"server: {np.median(rates):.2f} parts/s, {np.median(ratios):.0f} % of the loop (rounds: "
        f"{', '.join(f'{r:.0f}' for r in ratios)}), {clients} clients, {len(latencies)} parts, "
        f"{len(refused)} refused"
    )
    p50, p99 = np.percentile(latencies, (50, 99))
    print(f"latency: p50 {1000 * p50:.0f} ms, p99 {1000 * p99:.0f} ms")
    after = used[len(used) // 4 :]
    print(
        f"memory: {after[0]:.0f} MB after a quarter of the time, {after[-1]:.0f} MB at the end, "
        f"at most {max(used):.0f} MB"
    )


if __name__ == "__main__":
    main()
