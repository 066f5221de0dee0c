// Requests to the server this page came from.

const TRIES = 5;

/** What went wrong, in words for the reader; `gone` if the server did not answer at all. */
export class Refusal extends Error {
  constructor(message, { status = 0, faults = [], gone = false } = {}) {
    super(message);
    this.status = status;
    this.faults = faults;
    this.gone = gone;
  }
}

export const get = (path, parameters = {}, how = {}) => {
  const query = new URLSearchParams(parameters).toString();
  return request(`${path}${query ? `?${query}` : ""}`, {}, how);
};

export const post = (path, body, how = {}) =>
  request(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) }, how);

async function request(path, options, { signal, waiting = () => {} }) {
  for (let attempt = 1; ; attempt += 1) {
    const answer = await send(path, { ...options, signal });
    if (answer.status !== 503 || attempt === TRIES) return unpack(answer);
    waiting();
    await pause(1000 * Number(answer.headers.get("retry-after") ?? 1), signal);
  }
}

async function send(path, options) {
  try {
    const response = await fetch(path, options);
    // The body is read here too: the server may stop while it sends.
    return { ok: response.ok, status: response.status, headers: response.headers, text: await response.text() };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(
      "The explorer's server does not answer. It may have been stopped. Start it again with “longtail explore”, then try again.",
      { gone: true },
    );
  }
}

function unpack({ ok, status, text }) {
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    if (ok) throw new Refusal("The server's answer was cut short. Try again.", { status });
  }
  if (ok) return body;
  const said = body?.error?.message ?? "The server could not answer. Its terminal may say why.";
  throw new Refusal(said, { status, faults: body?.error?.faults ?? [] });
}

function pause(milliseconds, signal) {
  return new Promise((done, fail) => {
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      fail(new DOMException("given up", "AbortError"));
    });
  });
}
