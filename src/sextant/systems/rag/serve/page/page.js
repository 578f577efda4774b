// The page: a question goes out, its answer comes in piece by piece.

import { Problem, ask, forgetToken, get, keepToken } from "./ask.js";
import { closeDrill, drillIsOpen, openDrill } from "./drill.js";
import { at, showAnswer, showMeasures, showSources, showText } from "./show.js";

let shards = [];
let current = null;

async function start() {
  try {
    const index = await get("/shards");
    shards = index.shards.map((one) => one.shard);
    const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
    at("index").textContent = [count(index.documents, "document"), count(index.passages, "passage"),
      count(shards.length, "shard")].join(" · ");
    at("token").hidden = true;
  } catch (problem) {
    return told(problem);
  }
  const asked = new URLSearchParams(location.search).get("q");
  if (asked) {
    at("question").value = asked;
    await run();
  }
}

async function run() {
  const question = at("question").value.trim();
  if (!question) return;
  current?.abort();
  at("question").value = question;
  const mine = (current = new AbortController());
  const url = new URL(location);
  url.searchParams.set("q", question);
  if (url.href !== location.href) history.pushState(null, "", url);
  document.title = `${question} · Sextant`;
  clear();
  try {
    const asked = { question, k: Number(at("k").value), deadline: Number(at("deadline").value), mode: at("mode").value };
    let ended = false;
    for await (const [name, data] of ask(asked, mine.signal)) {
      if (mine !== current) return;
      show(name, data);
      ended = name === "end" || name === "error";
    }
    if (!ended) throw new Problem(0, { error: "the answer broke off", hint: "ask again" });
  } catch (problem) {
    if (mine === current && problem.name !== "AbortError") told(problem);
  } finally {
    if (mine === current) at("answer").setAttribute("aria-busy", "false");
  }
}

function clear() {
  at("main").classList.remove("blank");
  at("problem").hidden = true;
  at("result").hidden = false;
  at("result").classList.add("waiting");
  at("answer").setAttribute("aria-busy", "true");
  at("said").classList.remove("none");
  for (const id of ["said", "note", "coverage", "cells", "missing", "total", "stages", "legend", "hits"]) at(id).replaceChildren();
}

function show(name, data) {
  if (name === "error") throw new Problem(data.status, data);
  if (name === "text") return showText(data.text);
  at("result").classList.remove("waiting");
  showMeasures(data, shards);
  showSources(data);
  if (name === "end") showAnswer(data);
}

function told(problem) {
  at("result").hidden = true;
  if (problem.status === 401) {
    forgetToken();
    at("token").hidden = false;
    at("secret").focus();
    return;
  }
  const place = at("problem");
  const what = problem instanceof Problem ? problem.message : "the server cannot be reached";
  place.textContent = `${what.charAt(0).toUpperCase()}${what.slice(1)}.${problem.hint ? ` ${problem.hint}.` : ""}`;
  place.hidden = false;
}

function step(by) {
  const hits = [...at("hits").children];
  if (!hits.length) return;
  const now = hits.indexOf(document.activeElement);
  const next = hits[Math.min(hits.length - 1, Math.max(0, now + by))];
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

function key(event) {
  const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    if (drillIsOpen()) { closeDrill(); at("drill-toggle").focus(); }
    else if (typing) event.target.blur();
    else current?.abort();
  } else if (!typing && event.key === "/") {
    event.preventDefault();
    at("question").focus();
    at("question").select();
  } else if (!typing && (event.key === "j" || event.key === "k")) {
    step(event.key === "j" ? 1 : -1);
  }
}

at("ask").addEventListener("submit", (event) => { event.preventDefault(); run(); });
at("token").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(at("secret").value.trim());
  at("secret").value = "";
  start();
});
at("drill-toggle").addEventListener("click", () => (drillIsOpen() ? closeDrill() : openDrill(at("question").value.trim())));
at("drill-close").addEventListener("click", () => { closeDrill(); at("drill-toggle").focus(); });
for (const id of ["mode", "k", "deadline"]) at(id).addEventListener("change", () => { if (!at("result").hidden) run(); });
document.addEventListener("keydown", key);
addEventListener("popstate", () => {
  // Also fires when a reference leads to its source; then the question is the same.
  const asked = new URLSearchParams(location.search).get("q") || "";
  if (asked === at("question").value.trim()) return;
  at("question").value = asked;
  if (asked) run();
  else location.reload();
});
start();
