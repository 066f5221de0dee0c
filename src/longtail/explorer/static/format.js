// Numbers and names as people read them.

const LONGEST = 60; // characters of a name that are shown

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const two = new Intl.NumberFormat("en", { minimumSignificantDigits: 2, maximumSignificantDigits: 2 });
const one = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const fine = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const minus = (text) => text.replace("-", "−");

/** 1,234 or 0.5. */
export const count = (n) => minus(grouped.format(n));

/** One kernel, two kernels. */
export const plural = (n, word, many = `${word}s`) => `${count(n)} ${n === 1 ? word : many}`;

/** Nats: one place, or two where they are few. */
export const nats = (x) => minus(Math.abs(x) < 10 ? fine.format(x) : one.format(x));

/** The same with its sign. */
export const signed = (x) => (x > 0 ? `+${nats(x)}` : nats(x));

/** A number with two places. */
export const decimal = (x) => minus(fine.format(x));

/** One place, for numbers of some tens. */
export const coarse = (x) => minus(one.format(x));

/** Two significant digits; for numbers that have no usual size. */
export const small = (x) => minus(Math.abs(x) > 0 && Math.abs(x) < 1e-4 ? x.toExponential(1) : two.format(x));

/** A probability, in per cent. */
export function probability(p) {
  const share = 100 * p;
  if (share > 0 && share < 0.0001) return "< 0.0001 %";
  return share === 0 ? "0 %" : `${two.format(share)} %`;
}

/** How many times. */
export function times(ratio) {
  if (ratio >= 1000) return "> 1,000×";
  if (ratio > 0 && ratio < 0.01) return "< 0.01×";
  return `${two.format(ratio)}×`;
}

/** A name with an end, by whole characters. */
export function cut(text, longest = LONGEST) {
  const visible = visibly(text);
  const letters = Array.from(visible.slice(0, 2 * longest + 2));
  return letters.length > longest ? `${letters.slice(0, longest).join("")}…` : visible;
}

/** A name that would show nothing, or break the line, shows that it does. */
function visibly(text) {
  const line = text.slice(0, 2000).replace(/\r\n|\r|\n/g, "⏎").replace(/\t/g, "⇥");
  return line.trim() === "" ? line.replace(/ |^$/g, "␣") : line;
}

/** A name inside a sentence that is not marked up, such as a label: kept apart from its direction. */
export const inSentence = (text, longest) => `\u2068${cut(text, longest)}\u2069`;
