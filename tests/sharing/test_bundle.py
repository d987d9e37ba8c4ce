"""Modules as one script: what it does in a page and in a worker, and what is refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from napari_tinc.sharing.bundle import bundle
from napari_tinc.sharing.page import single_page

MODULES = {
    "app/main.js": (
        "// Starts the page.\n"
        "import { double, half as halved } from '../reader/numbers.js';\n"
        "import {\n  shown,\n} from './view.js';\n"
        "import * as all from './view.js';\n"
        "import './page-only.js';\n"
        "/**\n * Says it.\n * @param {string} word\n */\n"
        "export async function say(word) {\n  return `// ${word}\n  kept`;\n}\n"
        "const secret = 5; // as it is\n"
        "said.push(shown(double(2)), halved(secret), all.renamed, all.SECOND, typeof document, say.name);\n"
    ),
    "app/view.js": (
        "import { double } from '../reader/numbers.js';\n"
        "export const shown = (n) => double(n) + 1;\nconst secret = 1;\nexport { secret as renamed };\n"
        "export const [FIRST, SECOND] = [8, 9];\n"
    ),
    "app/page-only.js": "said.push('page');",
    "reader/numbers.js": "export { half } from './half.js';\nexport function double(n) { return 2 * n; }\n",
    "reader/half.js": "said.push('once');\nexport function half(n) { return n / 2; }\n",
    "worker.js": "import { double, half } from './reader/numbers.js';\nsaid.push('worker', half(double(6)));\n",
    "reader/unused.js": "said.push('never');\n",
}


def run(script: str, before: str) -> list[object]:
    code = f"globalThis.said = [];\n{before}\n{script}\nconsole.log(JSON.stringify(said));"
    done = subprocess.run(["node", "-e", code], check=True, capture_output=True, text=True, timeout=60)
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def test_a_page_and_a_worker_each_run_their_own() -> None:
    script = bundle(MODULES, "app/main.js", "worker.js")
    assert run(script, "globalThis.document = {};") == ["once", "page", 9, 2.5, 1, 9, "object", "say"]
    assert run(script, "") == ["once", "worker", 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("export default 3;\n", "app/view.js has 'export default 3;', which cannot be joined"),
        ("export let shown = 3;\n", "app/view.js has 'export let shown = 3;', which cannot be joined"),
        ("export * from './page-only.js';\n", 'app/view.js has "export \\* from'),
        ("import all from './page-only.js';\n", 'app/view.js has "import all from'),
        ("import { say } from './main.js';\n", "each other: app/main.js -> app/view.js -> app/main.js"),
        ("import './gone.js';\n", "app/view.js needs app/gone.js, which is not there"),
    ],
)
def test_modules_of_another_form_are_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bundle(MODULES | {"app/view.js": text}, "app/main.js", "worker.js")


def test_the_page_of_a_file_has_all_of_it_inside() -> None:
    page = single_page('a "brain" <b>.tinc', b"\x89TNC").decode()
    assert 'data-name="a &quot;brain&quot; &lt;b&gt;.tinc">iVROQw==</script>' in page
    assert page.count("<script") == 3 and "stylesheet" not in page and " src=" not in page


def test_large_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_tinc.sharing.page.MOST_BYTES_INSIDE", 2**20)
    with pytest.raises(ValueError, match="v.tinc has 3 MiB, expected at most 1 inside a page"):
        single_page("v.tinc", bytes(3 * 2**20))


def test_the_page_of_the_sample_is_small() -> None:
    sample = Path(__file__).parents[2] / "src/napari_tinc/data/mri_mni152_crop.tinc"
    assert len(single_page(sample.name, sample.read_bytes())) <= 250_000
