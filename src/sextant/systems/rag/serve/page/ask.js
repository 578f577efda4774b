// Talks to the server: JSON in and out, and an answer's events as they come.

const KEY = "sextant-token";

export class Problem extends Error {
  constructor(status, told) {
    super(told.error || `the server answered ${status}`);
    this.status = status;
    this.hint = told.hint || "";
    this.where = told.where || "";
  }
}

export const keepToken = (token) => sessionStorage.setItem(KEY, token);
export const forgetToken = () => sessionStorage.removeItem(KEY);

function headers(more = {}) {
  const token = sessionStorage.getItem(KEY);
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

async function checked(response) {
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  throw new Problem(response.status, told);
}

export async function get(path) {
  return (await checked(await fetch(path, { headers: headers() }))).json();
}

async function sent(path, body, signal) {
  return checked(await fetch(path, {
    method: "POST",
    headers: headers({ "Content-Type": "application/json" }),
    body: JSON.stringify(body),
    signal,
  }));
}

export async function post(path, body, signal) {
  return (await sent(path, body, signal)).json();
}

/** The events of an answer: `[name, data]`, one after the other. */
export async function* ask(question, signal) {
  const response = await sent("/ask", { ...question, stream: true }, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const events = rest.split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const [, name, data] = /^event: (\w+)\ndata: (.*)$/s.exec(event);
      yield [name, JSON.parse(data)];
    }
  }
}
