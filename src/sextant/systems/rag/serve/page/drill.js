// The panel of the shards: how they stand, coverage as it is now, and stopping one.

import { get, post } from "./ask.js";
import { at, element, percent } from "./show.js";

const EVERY_MS = 500;
const SHOWN_MS = 30_000;
const PROBE = { k: 1, deadline: 1 };
const NO_SHARD = 503;

let timer = null;
let seen = [];
let question = "anything";

export function openDrill(asked) {
  question = asked || question;
  at("drill").hidden = false;
  document.body.classList.add("drilling");
  at("drill-toggle").setAttribute("aria-expanded", "true");
  at("drill-close").focus();
  if (timer === null) look();
}

export function closeDrill() {
  at("drill").hidden = true;
  document.body.classList.remove("drilling");
  at("drill-toggle").setAttribute("aria-expanded", "false");
  clearTimeout(timer);
  timer = null;
  seen = [];
}

export const drillIsOpen = () => !at("drill").hidden;

async function look() {
  const [index, probe] = await Promise.allSettled([get("/shards"), post("/search", { question, ...PROBE })]);
  if (!drillIsOpen()) return;
  if (index.status === "fulfilled") showShards(index.value);
  else at("drill-said").textContent = `${index.reason.message}.`;
  if (probe.status === "fulfilled") showCoverage(probe.value.coverage);
  // A server that is merely busy says nothing of its shards.
  else if (probe.reason.status === NO_SHARD) showCoverage(0);
  timer = setTimeout(look, EVERY_MS);
}

function showCoverage(coverage) {
  const now = performance.now();
  seen = [...seen, { now, coverage }].filter((one) => now - one.now < SHOWN_MS);
  at("live").textContent = percent(coverage);
  at("live").classList.toggle("partial", coverage < 1);
  const points = seen.map((one) =>
    `${(300 * (1 - (now - one.now) / SHOWN_MS)).toFixed(1)},${(57 - 54 * one.coverage).toFixed(1)}`);
  const shape = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const first = points[0].split(",")[0];
  at("trace").replaceChildren(
    shape("line", { x1: 0, x2: 300, y1: 3, y2: 3, class: "whole" }),
    shape("polygon", { points: `${first},60 ${points.join(" ")} 300,60`, class: "area" }),
    shape("polyline", { points: points.join(" "), class: "line" }));
}

function showShards(index) {
  at("stop-for").hidden = !index.may_stop;
  const rows = index.shards.flatMap(rowsOf);
  const list = at("shards");
  // Kept in place, so that a button does not vanish under the finger.
  while (list.children.length > rows.length) list.lastChild.remove();
  rows.forEach((told, place) => {
    const row = list.children[place] || list.appendChild(madeRow());
    row.dataset.state = told.state;
    row.classList.toggle("replica", told.replica);
    row.querySelector("b").textContent = told.name;
    row.querySelector(".state").textContent = told.why || told.state;
    row.querySelector(".holds").textContent = told.holds;
    const button = row.querySelector("button");
    button.hidden = !index.may_stop;
    button.disabled = told.state !== "up";
    button.value = told.name;
    button.setAttribute("aria-label", `Stop ${told.name}`);
  });
}

/** A shard's row, and one for each of its replicas if there are several. */
function rowsOf({ shard, documents, members }) {
  const holds = `${documents.toLocaleString("en")} documents`;
  const up = members.filter((one) => one.state === "up").length;
  const down = members.find((one) => one.state !== "up");
  if (members.length < 2) return [{ name: shard, holds, state: down?.state || "up", why: down?.why || "", replica: false }];
  const why = up === members.length ? "" : `${up} of ${members.length} replicas are up`;
  const rows = members.map((one) => ({ name: one.member, holds: "", state: one.state, why: one.why, replica: true }));
  return [{ name: shard, holds, state: up ? "up" : down.state, why, replica: false }, ...rows];
}

function madeRow() {
  const button = element("button", { type: "button" }, "Stop");
  button.addEventListener("click", () => stop(button));
  return element("li", {}, element("i"), element("span", { class: "name" }, element("b"), element("span", { class: "holds" })),
    element("span", { class: "state" }), button);
}

async function stop(button) {
  button.disabled = true;
  const said = at("drill-said");
  try {
    const told = await post("/drill/stop", { member: button.value, seconds: Number(at("seconds").value) });
    said.textContent = told.landed
      ? `${told.member} is stopped for ${told.lasts_s} s.`
      : `${told.member} was not stopped: ${told.why}.`;
  } catch (problem) {
    said.textContent = `${problem.message}.`;
  }
}
