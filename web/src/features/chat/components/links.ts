/** Finds addresses in a text. Only `http` and `https`, as they stand there: what is shown is where it leads. */

export interface Piece {
  text: string;
  href?: string;
}

const ADDRESS = /\bhttps?:\/\/[^\s<>"'`\u200e\u200f\u202a-\u202e\u2066-\u2069]+/giu;
/** Ends a sentence more often than an address. */
const ENDING = new Set('.,;:!?…\'"”’»*_~');
const BRACKETS: Record<string, string> = { ')': '(', ']': '[', '}': '{' };

export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let from = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = trimmed(match[0]);
    const href = safe(address);
    if (href === undefined) continue;
    if (match.index > from) found.push({ text: text.slice(from, match.index) });
    found.push({ text: address, href });
    from = match.index + address.length;
  }
  if (from < text.length) found.push({ text: text.slice(from) });
  return found;
}

/**
 * Without what belongs to the sentence around it: full stops, and a bracket that was opened outside. In one pass from the
 * end: whoever writes sixty thousand brackets does not stop anybody's page.
 */
function trimmed(address: string): string {
  const counts: Record<string, number> = {};
  for (const character of address) counts[character] = (counts[character] ?? 0) + 1;
  let end = address.length;
  for (; end > 0; end -= 1) {
    const last = address[end - 1] ?? '';
    const opening = BRACKETS[last];
    const alone = opening !== undefined && (counts[last] ?? 0) > (counts[opening] ?? 0);
    if (!alone && !ENDING.has(last)) break;
    counts[last] = (counts[last] ?? 0) - 1;
  }
  return address.slice(0, end);
}

function safe(address: string): string | undefined {
  try {
    const url = new URL(address);
    const named = url.hostname !== '' && url.username === '' && url.password === '';
    return named && (url.protocol === 'http:' || url.protocol === 'https:') ? url.href : undefined;
  } catch {
    return undefined;
  }
}
