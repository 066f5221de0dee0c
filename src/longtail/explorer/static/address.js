// The address of a view: #name?parameters. It holds all that the view shows.

/** #features?feature=kernel&a=thread&a=process */
export function address(view, parameters = {}) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) {
    if (value === undefined || value === null || value === "" || value === false) continue;
    for (const one of Array.isArray(value) ? value : [value]) query.append(key, one === true ? "1" : one);
  }
  const text = query.toString();
  return `#${view}${text ? `?${text}` : ""}`;
}

/** The view and the parameters of the present address. */
export function read() {
  const hash = location.hash.slice(1);
  const at = hash.indexOf("?");
  const view = at < 0 ? hash : hash.slice(0, at);
  return { view, query: new URLSearchParams(at < 0 ? "" : hash.slice(at + 1)) };
}

/** A whole number from an address, kept between bounds. */
export function whole(query, key, usual, least, most) {
  const given = query.get(key);
  const n = given === null || given.trim() === "" ? NaN : Number(given);
  return Number.isFinite(n) ? Math.min(most, Math.max(least, Math.round(n))) : usual;
}

/** Names with their counts, from an address: name, or count*name. */
export function readBag(query, key) {
  const bag = new Map();
  for (const part of query.getAll(key)) {
    const [, number, rest] = /^(\d+(?:\.\d+)?)\*([^]*)$/.exec(part) ?? [null, "1", part];
    if (rest !== "" && Number(number) > 0) bag.set(rest, Number(number));
  }
  return bag;
}

/** The same, the other way. */
export const writeBag = (bag) => [...bag].map(([name, n]) => `${n}*${name}`);
