"""Runs the Autobahn cases 1 to 10 (package kosoku) against the echo listener, which is the product's own connection code.

Exits 0 when all 301 cases pass. MURMURING_BIN names the binary; the report goes to target/ci/conformance/.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = os.environ.get("MURMURING_BIN", str(ROOT / "target/release/murmuring"))
REPORT = ROOT / "target/ci/conformance"
ECHO = "127.0.0.1:9321"
CASES = 301


def main() -> int:
    suite = pathlib.Path(sys.executable).parent / "kosoku"
    with tempfile.TemporaryDirectory() as data:
        command = [BINARY, "serve", "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--data", data]
        environment = os.environ | {"MURMURING_DEBUG_ECHO": ECHO}
        server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            ready = server.stdout.readline()
            if not ready.startswith("ready "):
                print("the server did not become ready", file=sys.stderr)
                return 1
            run = subprocess.run([suite, "-x", "12.*", "-x", "13.*", "-o", REPORT, ECHO], timeout=600)
        finally:
            server.terminate()
            server.wait(timeout=60)
    cases = [case for agent in json.loads((REPORT / "index.json").read_text()).values() for case in agent.values()]
    strict = sum(case["behavior"] == "OK" for case in cases)
    print(f"{len(cases)} cases, {strict} strictly, exit code of the suite {run.returncode}")
    return 0 if run.returncode == 0 and len(cases) == CASES else 1


if __name__ == "__main__":
    sys.exit(main())
