#!/usr/bin/env bash
# Install a wheel in a fresh environment in a temporary folder and use it there: PYTHON WHEEL
set -euo pipefail
python=$1
wheel=$(realpath "$2")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip --disable-pip-version-check --quiet install "$wheel"
cd "$folder"
cat >model.py <<'END'
import numpy as np
import clew

x = np.linspace(0.0, 2.0, 20)


def decay(p):
    return p["scale"] * np.exp(-p["rate"] * x)


problem = clew.Problem(decay, {"scale": 1.0, "rate": 1.0}, target=3.0 * np.exp(-0.5 * x))
example_args = ({"scale": 1.0, "rate": 1.0},)
END
venv/bin/python -W error - <<'END'
import clew
from pathlib import Path

home = Path(clew.__file__).parent
assert "venv" in home.parts, home
assert (home / "py.typed").exists()
assert float(clew.grad(lambda x: x * x)(3.0)) == 6.0
END
venv/bin/clew solve model.py --json answer.json --report report.html >solve.log || { cat solve.log; exit 1; }
venv/bin/clew check model.py:decay >/dev/null
venv/bin/clew trace model.py:decay >/dev/null
test -s report.html
echo "wheel $(venv/bin/clew --version) installs and works"
