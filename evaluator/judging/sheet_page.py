"""The HTML sheet: one file that works from a disk, loads nothing, and saves verdicts as a JSON file."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Sequence

from evaluator.judging.files import digest
from evaluator.judging.rubric import RUBRICS, Kind
from evaluator.judging.sheets import FORMAT, Item

HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")  # fmt: skip
STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; }
header { position: sticky; top: 0; background: Canvas; padding: .5rem 0; border-bottom: 1px solid; }
article { border-bottom: 1px solid; padding: 1rem 0; }
h2 { font-size: 1rem; overflow-wrap: anywhere; } h3 { font-size: .9rem; margin: .6rem 0 .2rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 24rem; overflow: auto; margin: 0;
  padding: .6rem; border: 1px solid; font: 13px/1.4 ui-monospace, monospace; }
fieldset { border: 0; padding: 0; margin: .6rem 0; } legend { font-weight: 600; }
label { margin-right: .8rem; white-space: nowrap; } article > label { display: block; margin: 0; }
textarea { display: block; width: 100%; box-sizing: border-box; }
"""
SCRIPT = """
(() => {
  const root = document.documentElement, key = "verdicts " + root.dataset.sheet;
  const items = [...document.querySelectorAll("article")];
  const rater = document.getElementById("rater"), count = document.querySelector("output");
  const verdict = (item) => ({
    id: item.dataset.id, check: item.dataset.check,
    values: Object.fromEntries([...item.querySelectorAll("fieldset")].map(
      (f) => [f.dataset.field, (f.querySelector("input:checked") || {}).value || ""])),
    note: item.querySelector("textarea").value,
  });
  const sheet = () => ({
    format: root.dataset.format, kind: root.dataset.kind, rater: rater.value.trim(),
    verdicts: items.map(verdict),
  });
  const show = () => {
    const state = sheet();
    const done = state.verdicts.filter((v) => Object.values(v.values).every(Boolean)).length;
    count.textContent = `${done} of ${items.length} judged`;
    return state;
  };
  const keep = () => {
    const state = show();
    try { localStorage.setItem(key, JSON.stringify(state)); } catch { /* kept by saving only */ }
  };
  const bring = (state) => {
    rater.value = state.rater;
    const byId = new Map(state.verdicts.map((v) => [v.id, v]));
    for (const item of items) {
      const v = byId.get(item.dataset.id);
      if (!v) continue;
      for (const input of item.querySelectorAll("input"))
        input.checked = v.values[input.closest("fieldset").dataset.field] === input.value;
      item.querySelector("textarea").value = v.note;
    }
  };
  try { const kept = localStorage.getItem(key); if (kept) bring(JSON.parse(kept)); } catch { /* none */ }
  document.addEventListener("input", keep);
  document.getElementById("save").addEventListener("click", () => {
    const state = show();
    if (!state.rater) { rater.focus(); count.textContent = "Your name first"; return; }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(state, null, 1)], { type: "application/json" }));
    link.download = "verdicts.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  });
  show();
})();
"""


def render(items: Sequence[Item], kind: Kind) -> str:
    """The page. Every text is escaped and control characters are made visible; a policy in the page
    allows its own script and style and nothing else. What is filled in stays in the browser until it
    is saved, also when the page is closed."""
    hashed = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hashed}'; base-uri 'none'; form-action 'none'"  # fmt: skip
    sheet = digest(kind, [item.check for item in items])
    articles = "\n".join(_article(number, item, kind) for number, item in enumerate(items, 1))
    return f"""<!doctype html>
<html lang="en" data-sheet="{sheet}" data-format="{FORMAT}" data-kind="{kind}">
<head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Verdicts on {len(items)} answers</title><style>{STYLE}</style></head>
<body><header><label>Your name <input id="rater" autocomplete="off"></label>
<button id="save" type="button">Save verdicts</button> <output></output></header>
<main>
{articles}
</main>
<script>{SCRIPT}</script></body></html>
"""


def _article(number: int, item: Item, kind: Kind) -> str:
    shown = "".join(
        f'<h3>{_text(h)}</h3><pre tabindex="0">\n{_text(t)}</pre>' for h, t in item.shown
    )
    asked = "".join(
        f'<fieldset data-field="{field.name}"><legend>{_text(field.name.capitalize())}: {_text(field.asks)}</legend>'
        + "".join(
            f'<label><input type="radio" name="{number}-{field.name}" value="{value}">{value}</label>'
            for value in reversed(field.values)
        )
        + "</fieldset>"
        for field in RUBRICS[kind]
    )
    id = html.escape(item.id)
    return (
        f'<article data-id="{id}" data-check="{item.check}"><h2>{number}. {_text(item.id)}</h2>'
        f'{shown}{asked}<label>Note <textarea rows="1"></textarea></label></article>'
    )


def _text(text: str) -> str:
    """Escaped, with what can't be seen shown as its code, as in Python source."""
    plain = text.replace("\r\n", "\n")
    return html.escape(HIDDEN.sub(lambda m: m[0].encode("unicode_escape").decode(), plain))
