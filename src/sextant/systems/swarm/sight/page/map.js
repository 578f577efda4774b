// Draws the map: cells, trails, tasks, links, targets, drones.

const TRAIL_S = 15;
const FRESH_S = 2.5;
const MOST_HEIGHT = 0.74;

export const colour = (name, alpha = 1) =>
  `hsl(${(name * 137.508 + 205) % 360} ${ink("--drone-vivid")} ${ink("--drone-light")} / ${alpha})`;

const inks = new Map();
export const forgetInks = () => inks.clear();
export function ink(name) {
  if (!inks.has(name)) inks.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  return inks.get(name);
}
const parts = (name) => [1, 3, 5].map((at) => parseInt(ink(name).slice(at, at + 2), 16));

/** Fit a canvas to its place, sharp on any screen; its pen counts in CSS pixels. */
export function pen(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== across || canvas.height !== down) {
    canvas.width = across;
    canvas.height = down;
  }
  const made = canvas.getContext("2d");
  made.setTransform(ratio, 0, 0, ratio, 0, 0);
  made.clearRect(0, 0, width, height);
  return made;
}

export class MapView {
  #canvas;
  #cells = document.createElement("canvas");
  chosen = null;

  constructor(canvas) {
    this.#canvas = canvas;
  }

  draw(flight, time_s, at) {
    const { start } = flight;
    const room = this.#canvas.parentElement.clientWidth;
    const most = Math.max(280, window.innerHeight * MOST_HEIGHT);
    this.scale = Math.min(room / start.columns, most / start.rows);
    this.width = start.columns * this.scale;
    this.height = start.rows * this.scale;
    this.#canvas.style.width = `${this.width}px`;
    this.#canvas.style.height = `${this.height}px`;
    this.start = start;
    const draw = pen(this.#canvas, this.width, this.height);
    const frame = flight.frames[at];
    const places = flight.places(time_s, at);
    this.#drawCells(draw, flight, time_s, at);
    this.#drawTrails(draw, flight, time_s, at, places);
    this.#drawLinks(draw, frame, places);
    this.#drawTasks(draw, frame, places);
    this.#drawTargets(draw, frame);
    this.#drawDrones(draw, frame, places);
  }

  at([x, y]) {
    const [left, low] = this.start.origin_m;
    const pixels = this.scale / this.start.cell_m;
    return [(x - left) * pixels, this.height - (y - low) * pixels];
  }

  #drawCells(draw, flight, time_s, at) {
    const { rows, columns } = flight.start;
    this.#cells.width = columns;
    this.#cells.height = rows;
    const paint = this.#cells.getContext("2d");
    const image = paint.createImageData(columns, rows);
    const [seen, dark, wall, fresh] = ["seen", "dark", "wall", "fresh"].map((name) => parts(`--map-${name}`));
    for (let cell = 0; cell < rows * columns; cell++) {
      let tint = dark;
      if (flight.blocked[cell]) tint = wall;
      else if (flight.seenAt[cell] <= at) {
        const age = (time_s - flight.frames[flight.seenAt[cell]].at_s) / FRESH_S;
        tint = age < 1 ? seen.map((value, place) => value + (1 - age) * (fresh[place] - value)) : seen;
      }
      const row = rows - 1 - Math.floor(cell / columns);
      image.data.set([...tint, 255], 4 * (row * columns + (cell % columns)));
    }
    paint.putImageData(image, 0, 0);
    draw.imageSmoothingEnabled = false;
    draw.drawImage(this.#cells, 0, 0, this.width, this.height);
  }

  #drawTrails(draw, flight, time_s, at, places) {
    const first = flight.index(time_s - TRAIL_S);
    draw.lineWidth = 1.8;
    draw.lineCap = "round";
    for (const name of flight.names) {
      let before = null;
      for (let number = first; number <= at; number++) {
        const row = flight.frames[number].where.get(name);
        const here = row ? this.at([row[1], row[2]]) : null;
        this.#stroke(draw, name, before, here, 1 - (time_s - flight.frames[number].at_s) / TRAIL_S);
        before = here;
      }
      if (places.has(name)) this.#stroke(draw, name, before, this.at(places.get(name)), 1);
    }
  }

  #stroke(draw, name, from, to, strength) {
    if (!from || !to) return;
    draw.strokeStyle = colour(name, 0.75 * Math.max(0, strength) * this.#weight(name));
    line(draw, from, to);
  }

  #drawLinks(draw, frame, places) {
    draw.lineWidth = 1;
    draw.strokeStyle = ink("--map-link");
    for (const [one, other] of frame.links) {
      if (!places.has(one) || !places.has(other)) continue;
      const mine = this.chosen === null || this.chosen === one || this.chosen === other;
      draw.globalAlpha = mine ? (this.chosen === null ? 0.22 : 0.6) : 0.05;
      line(draw, this.at(places.get(one)), this.at(places.get(other)));
    }
    draw.globalAlpha = 1;
  }

  #drawTasks(draw, frame, places) {
    const size = Math.max(3.2, Math.min(6, 0.25 * this.scale / this.start.cell_m));
    for (const [x, y, owner] of frame.tasks ?? []) {
      const [across, down] = this.at([x, y]);
      draw.fillStyle = colour(owner, 0.9 * this.#weight(owner));
      draw.beginPath();
      draw.moveTo(across, down - size);
      for (const [dx, dy] of [[size, 0], [0, size], [-size, 0]]) draw.lineTo(across + dx, down + dy);
      draw.fill();
    }
    draw.setLineDash([3, 4]);
    draw.lineWidth = 1.4;
    for (const [name, row] of frame.where) {
      if (!row[4] || !places.has(name)) continue;
      draw.strokeStyle = colour(name, 0.8 * this.#weight(name));
      line(draw, this.at(places.get(name)), this.at(row[4]));
    }
    draw.setLineDash([]);
  }

  #drawTargets(draw, frame) {
    const radius = Math.max(4.5, 0.5 * this.scale / this.start.cell_m);
    draw.strokeStyle = draw.fillStyle = ink("--accent");
    draw.lineWidth = 1.6;
    for (const spot of this.start.targets) ring(draw, this.at(spot), radius).stroke();
    for (const spot of frame.found ?? []) ring(draw, this.at(spot), 0.62 * radius).fill();
  }

  #drawDrones(draw, frame, places) {
    const radius = Math.max(7.5, 0.3 * this.scale / this.start.cell_m);
    draw.font = `600 ${Math.round(1.25 * radius)}px ${ink("--sans")}`;
    draw.textAlign = "center";
    draw.textBaseline = "middle";
    for (const [name, place] of places) {
      const [across, down] = this.at(place);
      draw.fillStyle = colour(name);
      draw.strokeStyle = ink("--halo");
      draw.lineWidth = this.chosen === name ? 4 : 2;
      ring(draw, [across, down], radius).stroke();
      draw.fill();
      draw.fillStyle = ink("--halo");
      draw.fillText(String(name), across, down + 0.5);
    }
  }

  #weight(name) {
    return this.chosen === null || this.chosen === name ? 1 : 0.18;
  }
}

function line(draw, from, to) {
  draw.beginPath();
  draw.moveTo(...from);
  draw.lineTo(...to);
  draw.stroke();
}

function ring(draw, [across, down], radius) {
  draw.beginPath();
  draw.arc(across, down, radius, 0, 2 * Math.PI);
  return draw;
}
