// A flight as it came from the record: its frames by time, and when each cell was seen.

const NEVER = 0x7fffffff;

export class Flight {
  start = null;
  end = null;
  frames = [];
  names = [];
  #next = 0;

  /** Ask for what is new; true if something came. */
  async fetch() {
    const answer = await fetch(`/lines?from=${this.#next}`);
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error);
    this.#next = told.next;
    for (const line of told.lines) this.#take(line);
    return told.lines.length > 0;
  }

  #take(line) {
    if (line.kind === "start") {
      this.start = line;
      this.seenAt = new Int32Array(line.rows * line.columns).fill(NEVER);
      this.blocked = new Uint8Array(line.rows * line.columns);
      for (const cell of line.blocked) this.blocked[cell] = 1;
      this.names = Array.from({ length: line.drones }, (_, name) => name);
    } else if (line.kind === "frame") {
      for (const cell of line.seen) if (this.seenAt[cell] === NEVER) this.seenAt[cell] = this.frames.length;
      line.where = new Map(line.drones.map((row) => [row[0], row]));
      this.frames.push(line);
    } else if (line.kind === "end") {
      this.end = line;
    }
  }

  get lasts_s() {
    return this.frames.length ? this.frames.at(-1).at_s : 0;
  }

  /** The number of the last frame not after a time. */
  index(time_s) {
    let low = 0;
    let high = this.frames.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.frames[middle].at_s <= time_s) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Where each drone is at a time, between two frames in a straight line: [x, y] by name. */
  places(time_s, at) {
    const [now, next] = [this.frames[at], this.frames[at + 1]];
    const span = next ? next.at_s - now.at_s : 0;
    const part = span > 0 ? Math.min(1, Math.max(0, (time_s - now.at_s) / span)) : 0;
    const found = new Map();
    for (const [name, row] of now.where) {
      const then = next?.where.get(name) ?? row;
      found.set(name, [row[1] + part * (then[1] - row[1]), row[2] + part * (then[2] - row[2])]);
    }
    return found;
  }

  get reached95_s() {
    return this.frames.find((frame) => frame.coverage >= 0.95)?.at_s ?? null;
  }
}
