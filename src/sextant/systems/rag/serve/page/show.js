// Draws a result. Every text of a document goes in as text, never as markup.

const STAGES = {
  queue_s: "waiting", embed_s: "embedding", fan_out_s: "searching", merge_s: "merging",
  answer_s: "answering", other_s: "the rest",
};
const MOST_CELLS = 96;
const LEAST_SHARE = 0.005;

export const at = (id) => document.getElementById(id);

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function seconds(value) {
  if (value >= 1) return `${value.toFixed(value < 10 ? 2 : 0)} s`;
  const ms = value * 1000;
  return `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}

export function percent(share) {
  // Not everything must never read as everything.
  const value = share < 1 ? Math.min(99.9, 100 * share) : 100;
  return `${Number.isInteger(value) ? value : value.toFixed(1)} %`;
}

// --- the answer ---

export function showText(text) {
  at("said").append(text);
}

export function showAnswer(result) {
  const said = at("said");
  said.replaceChildren();
  said.classList.toggle("none", result.answer === null);
  if (result.answer === null) {
    said.append(sentence(result.note || "nothing relevant found"));
  } else {
    const sources = ordered(result);
    const quoted = result.citations.map(quote).join(" ") === result.answer;
    if (quoted) for (const one of result.citations) said.append(flowing(quote(one)), reference(one, sources), " ");
    else said.append(...withReferences(result, sources));
  }
  at("note").textContent = result.answer === null || !result.note ? "" : sentence(result.note);
}

// A document without a text is quoted by its title.
const quote = (citation) => citation.text || citation.title;
const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

/** An answer in a model's own words has its references as [1] in the text; those not there come last. */
function withReferences(result, sources) {
  const shown = new Set();
  const made = flowing(result.answer).split(/\s*\[(\d{1,3})\]/).map((part, place) => {
    if (place % 2 === 0) return part;
    const citation = result.citations[Number(part) - 1];
    if (citation === undefined) return ` [${part}]`;
    shown.add(citation);
    return reference(citation, sources);
  });
  const rest = result.citations.filter((one) => !shown.has(one));
  return [...made, ...rest.map((one) => reference(one, sources))];
}

/** A small number that leads to the source with the cited span. */
function reference(citation, sources) {
  const place = sources.findIndex((hit) => overlap(hit, citation) !== null);
  const name = citation.title || citation.doc;
  const attributes = { href: `#source-${place + 1}`, title: name, "aria-label": `source: ${name}` };
  return element("sup", {}, place < 0 ? "" : element("a", attributes, String(place + 1)));
}

// --- how it went ---

export function showMeasures(result, shards) {
  at("coverage").replaceChildren(percent(result.coverage), element("small", {}, "of the documents searched"));
  const missing = new Map(result.missing.map((one) => [one.shard, one.why]));
  const cells = at("cells");
  cells.replaceChildren(...shards.slice(0, MOST_CELLS).map((shard) => {
    const why = missing.get(shard);
    return element("i", { class: why === undefined ? "there" : "absent", title: why === undefined ? shard : `${shard}: ${why}` });
  }));
  cells.setAttribute("aria-label", `${shards.length - missing.size} of ${shards.length} shards answered`);
  at("missing").replaceChildren(...result.missing.map((one) =>
    element("li", {}, element("b", {}, one.shard), ` ${one.why}`)));
  showStages(result.timing);
}

export function showStages(timing) {
  const { total_s: total, ...stages } = timing;
  at("total").replaceChildren(seconds(total), element("small", {}, "from question to answer"));
  const shown = worthShowing(stages, total);
  const bar = at("stages");
  bar.replaceChildren(...shown.map(([stage, value]) => {
    const piece = element("i", { class: colour(stage), title: `${named(stage)} ${seconds(value)}` });
    piece.style.flexGrow = 100 * value / total; // Shares that sum below one would leave a gap.
    return piece;
  }));
  bar.setAttribute("aria-label", shown.map(([stage, value]) => `${named(stage)} ${seconds(value)}`).join(", "));
  at("legend").replaceChildren(...shown.map(([stage, value]) =>
    element("li", {}, element("i", { class: colour(stage) }), `${named(stage)} `, element("b", {}, seconds(value)))));
}

/** The stages that can be seen beside the others; what cannot goes to the rest. */
function worthShowing(stages, total) {
  const { other_s: other = 0, ...own } = stages;
  const shown = Object.entries(own).filter(([, value]) => value > LEAST_SHARE * total);
  const rest = total - shown.reduce((sum, [, value]) => sum + value, 0);
  return Math.max(rest, other) > LEAST_SHARE * total ? [...shown, ["other_s", rest]] : shown;
}

const colour = (stage) => `stage-${Math.max(0, Object.keys(STAGES).indexOf(stage))}`;
const named = (stage) => STAGES[stage] || stage.replace(/_s$/, "").replaceAll("_", " ");

// --- the sources ---

/** Where in a passage a cited span lies, in characters of the passage; null if it does not. */
function overlap(hit, citation) {
  if (hit.doc !== citation.doc) return null;
  const start = Math.max(hit.start, citation.start);
  const end = Math.min(hit.end, citation.end);
  return start < end ? [start - hit.start, end - hit.start] : null;
}

/** The hits, those that the answer cites first. */
function ordered(result) {
  const cited = (hit) => result.citations.findIndex((one) => overlap(hit, one) !== null);
  const place = (hit) => (cited(hit) < 0 ? result.citations.length : cited(hit));
  return [...result.hits].sort((one, other) => place(one) - place(other));
}

/** Lines that were wrapped at a width flow again; short lines and indented ones (lists, code) stay.
 * One character becomes one, so that offsets stay what they are. */
const flowing = (text) =>
  text.replace(/(?<=[^\n]{25,})\n(?=\p{Ll})|(?<=[^\n]{45,})\n(?=[\p{L}\p{N}("'“‘])/gu, " ");

export function showSources(result) {
  at("hits").replaceChildren(...ordered(result).map((hit, place) => source(hit, place, result.citations)));
}

function source(hit, place, citations) {
  const text = element("p", { class: "text" });
  const cited = marked(text, hit, citations);
  const where = hit.title ? `${hit.doc}, characters ${hit.start} to ${hit.end}` : `characters ${hit.start} to ${hit.end}`;
  return element("li", { id: `source-${place + 1}`, tabindex: "-1", class: cited ? "cited" : "" },
    element("h3", {}, hit.title || hit.doc),
    element("p", { class: "where" }, element("span", {}, where), element("span", { class: "score" }, hit.score.toFixed(3))),
    text);
}

/** Fills in a passage with its cited spans marked; says whether there are any. */
function marked(into, hit, citations) {
  // Offsets count characters as the server does; JavaScript's strings would count an emoji twice.
  const characters = Array.from(flowing(hit.text));
  const spans = citations
    .map((citation) => overlap(hit, citation))
    .filter((span) => span !== null)
    .sort((one, other) => one[0] - other[0]);
  const text = (start, end) => characters.slice(start, end).join("");
  let done = 0;
  for (const [start, end] of spans) {
    if (end <= done) continue;
    const from = Math.max(done, start);
    into.append(text(done, from), element("mark", {}, text(from, end)));
    done = end;
  }
  into.append(text(done));
  return spans.length > 0;
}
