// Two small charts over time, with a mark where the page stands.

import { ink, pen } from "./map.js";

const HEIGHT = 76;
const FOOT = 4;
const MOST_POINTS = 400;

function chart(canvas, flight, at, top, drawn) {
  const width = canvas.clientWidth;
  const draw = pen(canvas, width, HEIGHT);
  const lasts_s = Math.max(flight.lasts_s, 1e-9);
  const place = (frame, value) => [
    (frame.at_s / lasts_s) * (width - 2) + 1,
    HEIGHT - FOOT - Math.min(1, value / top) * (HEIGHT - 2 * FOOT),
  ];
  const every = Math.max(1, Math.ceil(flight.frames.length / MOST_POINTS));
  const path = (value) => {
    draw.beginPath();
    flight.frames.forEach((frame, number) => {
      if (number % every === 0 || number === flight.frames.length - 1) draw.lineTo(...place(frame, value(frame)));
    });
  };
  drawn(draw, path, width, (value) => place(flight.frames[0], value)[1]);
  const [across] = place(flight.frames[at], 0);
  draw.setLineDash([]);
  draw.strokeStyle = ink("--ink");
  draw.lineWidth = 1;
  draw.beginPath();
  draw.moveTo(across, 0);
  draw.lineTo(across, HEIGHT);
  draw.stroke();
}

function rule(draw, down, width) {
  draw.strokeStyle = ink("--strong");
  draw.lineWidth = 1;
  draw.setLineDash([2, 4]);
  draw.beginPath();
  draw.moveTo(0, down);
  draw.lineTo(width, down);
  draw.stroke();
  draw.setLineDash([]);
}

export function drawCurve(canvas, flight, at) {
  chart(canvas, flight, at, 1, (draw, path, width, down) => {
    rule(draw, down(0.95), width);
    path((frame) => frame.coverage);
    draw.strokeStyle = ink("--accent");
    draw.lineWidth = 2;
    draw.stroke();
    draw.lineTo(width - 1, HEIGHT - FOOT);
    draw.lineTo(1, HEIGHT - FOOT);
    draw.fillStyle = ink("--wash");
    draw.globalCompositeOperation = "destination-over";
    draw.fill();
    draw.globalCompositeOperation = "source-over";
  });
}

const slowest = (frame) => Math.max(frame.loop_ms, ...frame.drones.map((row) => row[5] ?? 0));

export function drawLoops(canvas, flight, at) {
  // One stray peak must not flatten the rest: the scale is that of all but a few frames.
  const peaks = flight.frames.map(slowest).sort((one, other) => one - other);
  const top = 1.15 * Math.max(0.1, peaks[Math.floor(0.99 * (peaks.length - 1))]);
  chart(canvas, flight, at, top, (draw, path, width, down) => {
    rule(draw, down(0), width);
    draw.lineWidth = 1;
    draw.strokeStyle = ink("--strong");
    path(slowest);
    draw.stroke();
    draw.lineWidth = 1.6;
    draw.strokeStyle = ink("--map-link");
    path((frame) => frame.loop_ms);
    draw.stroke();
  });
}
