// The page: a flight comes in line by line, and is played, live or from the record.

import { drawCurve, drawLoops } from "./charts.js";
import { Flight } from "./flight.js";
import { MapView, colour, forgetInks } from "./map.js";

const POLL_MS = 400;
const LAG_S = 0.3;
const PLAY = "M4 2.5v11l9-5.5z";
const PAUSE = "M3.5 2.5h3v11h-3zM9.5 2.5h3v11h-3z";

const at = (id) => document.getElementById(id);
const flight = new Flight();
const map = new MapView(at("map"));
let time_s = 0;
let playing = false;
let live = false;
let before_ms = null;
let stale = true;
let drawnAt = -1;

// --- what comes in ---

async function poll() {
  try {
    const first = flight.start === null;
    if (await flight.fetch()) arrived(first);
    at("problem").hidden = true;
  } catch (problem) {
    at("problem").textContent = `${problem.message || "the server does not answer"}. What came before stays.`;
    at("problem").hidden = false;
  }
  if (!flight.end) setTimeout(poll, POLL_MS);
}

function arrived(first) {
  stale = true;
  drawnAt = -1;
  if (first && flight.start) {
    const { rows, columns, cell_m, drones } = flight.start;
    const size = `${(columns * cell_m).toFixed(0)} × ${(rows * cell_m).toFixed(0)} m`;
    at("flight").textContent = `${drones} ${drones === 1 ? "drone" : "drones"} · ${size}`;
    // A flight that has ended is played from its start; one that goes on is shown as it is now.
    setLive(!flight.end);
    setPlaying(true);
  }
  at("time").max = flight.lasts_s;
  at("live").hidden = Boolean(flight.end);
  at("state").textContent = flight.end ? "recorded flight" : "in flight";
  at("state").classList.toggle("now", !flight.end);
  if (flight.end) setLive(false);
}

// --- time ---

function setPlaying(wanted) {
  if (wanted && !live && flight.end && time_s >= flight.lasts_s) time_s = 0;
  playing = wanted;
  at("glyph").setAttribute("d", playing ? PAUSE : PLAY);
  at("play").setAttribute("aria-label", playing ? "Pause" : "Play");
  stale = true;
}

function setLive(wanted) {
  live = wanted;
  at("live").setAttribute("aria-pressed", String(live));
  if (live) setPlaying(true);
}

function seek(wanted_s) {
  live = false;
  at("live").setAttribute("aria-pressed", "false");
  time_s = Math.min(flight.lasts_s, Math.max(0, wanted_s));
  stale = true;
}

function step(now_ms) {
  const passed_s = before_ms === null ? 0 : (now_ms - before_ms) / 1000;
  before_ms = now_ms;
  if (playing && flight.frames.length) {
    if (live) {
      // Smoothly towards a little before the newest frame, in one leap where that is far.
      const behind_s = Math.max(0, flight.lasts_s - LAG_S) - time_s;
      time_s += Math.abs(behind_s) > 3 ? behind_s : behind_s * Math.min(1, 4 * passed_s);
    } else {
      time_s = Math.min(flight.lasts_s, time_s + passed_s * Number(at("pace").value));
      if (flight.end && time_s >= flight.lasts_s) setPlaying(false);
    }
    stale = true;
  }
  if (stale && flight.frames.length) show();
  requestAnimationFrame(step);
}

// --- what is shown ---

function show() {
  stale = false;
  const number = flight.index(time_s);
  map.draw(flight, time_s, number);
  at("time").value = time_s;
  at("clock").textContent = `${time_s.toFixed(1)} s`;
  if (number === drawnAt) return;
  drawnAt = number;
  tell(flight.frames[number]);
  drawCurve(at("curve"), flight, number);
  drawLoops(at("loops"), flight, number);
}

function tell(frame) {
  const { targets, drones } = flight.start;
  figure("seen", percent(frame.coverage));
  figure("targets", String(matched(frame)), ` of ${targets.length}`);
  figure("up", String(frame.drones.length), ` of ${drones}`);
  figure("collisions", String(frame.collisions));
  at("collisions").classList.toggle("bad", frame.collisions > 0);
  const reached = flight.reached95_s;
  at("at95").textContent = reached === null ? "" : `95 % after ${reached.toFixed(1)} s`;
  at("loop").textContent = `${frame.loop_ms.toFixed(1)} ms`;
  at("map").setAttribute("aria-label",
    `The map at ${frame.at_s.toFixed(1)} s: ${percent(frame.coverage)} seen, ${frame.drones.length} drones in the air`);
  tellDrones(frame);
  const { end } = flight;
  at("end").textContent = end && frame === flight.frames.at(-1)
    ? `Ended after ${end.seconds.toFixed(1)} s: ${end.targets_found} of ${end.targets} targets found, ` +
      `${percent(end.coverage)} seen, ${end.collisions || "no"} ${end.collisions === 1 ? "collision" : "collisions"}.`
    : "";
}

function figure(id, value, more = "") {
  const small = document.createElement("small");
  small.textContent = more;
  at(id).replaceChildren(value, small);
}

// Not everything must never read as everything.
const percent = (share) => `${(share < 1 ? Math.min(99.9, 100 * share) : 100).toFixed(1)} %`;

function matched(frame) {
  const near = ([x, y]) => (frame.found ?? []).some(([u, v]) => Math.hypot(u - x, v - y) < 1);
  return flight.start.targets.filter(near).length;
}

function tellDrones(frame) {
  if (at("drones").rows.length !== flight.names.length) at("drones").replaceChildren(...flight.names.map(row));
  for (const name of flight.names) {
    const told = frame.where.get(name);
    const cells = at("drones").rows[name].cells;
    at("drones").rows[name].classList.toggle("gone", !told);
    cells[0].querySelector("i").style.background = colour(name);
    cells[0].firstChild.setAttribute("aria-pressed", String(map.chosen === name));
    cells[1].textContent = told ? told[3] : "down";
    const tasks = (frame.tasks ?? []).filter((task) => task[2] === name).length;
    cells[2].textContent = told ? String(tasks) : "";
    cells[3].textContent = told ? String(frame.links.filter((link) => link.includes(name)).length) : "";
    cells[4].textContent = told?.[5] == null ? "" : `${told[5].toFixed(1)} ms`;
  }
}

function row(name) {
  const made = document.createElement("tr");
  const choose = document.createElement("button");
  choose.type = "button";
  choose.title = "Show this one only";
  choose.append(document.createElement("i"), String(name));
  choose.addEventListener("click", () => {
    map.chosen = map.chosen === name ? null : name;
    again();
  });
  made.insertCell().append(choose);
  for (let more = 0; more < 4; more++) made.insertCell();
  return made;
}

function again() {
  forgetInks();
  drawnAt = -1;
  stale = true;
}

// --- what is pressed ---

at("play").addEventListener("click", () => setPlaying(!playing));
at("live").addEventListener("click", () => setLive(!live));
at("time").addEventListener("input", () => seek(Number(at("time").value)));

const KEYS = {
  " ": () => setPlaying(!playing),
  ArrowLeft: (far) => seek(time_s - far),
  ArrowRight: (far) => seek(time_s + far),
  Home: () => seek(0),
  End: () => seek(flight.lasts_s),
  l: () => flight.end || setLive(!live),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("select, button") && (event.key === " " || event.target.matches("select"));
  const act = KEYS[event.key];
  if (!act || typing || event.ctrlKey || event.metaKey || event.altKey || !flight.frames.length) return;
  event.preventDefault();
  act(event.shiftKey ? 10 : 1);
});

addEventListener("resize", again);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);

poll();
requestAnimationFrame(step);
